"""every setting of the field: gradients, contexts, comparisons, fits to start from

Revision: 0002
Follows: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_EMPTY = sa.text("'{}'::jsonb")


def _document(name: str, **more) -> sa.Column:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=False, **more)


def upgrade() -> None:
    op.add_column("trials", _document("gradients", server_default=_EMPTY))
    op.add_column("suggestions", _document("context", server_default=_EMPTY))
    op.create_table(
        "study_fits",
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("data_version", sa.BigInteger(), nullable=False),
        _document("fit"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_fits_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_study_fits")),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("ranking", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_comparisons_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
    )
    op.create_index("ix_comparisons_study_id_id", "comparisons", ["study_id", "id"], unique=False)
