"""checkpoints that nobody will need again, to be told to whoever reports next

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "obsolete_checkpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("trial_id", sa.Uuid(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_obsolete_checkpoints_study_id_studies"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.id"], name=op.f("fk_obsolete_checkpoints_trial_id_trials"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_obsolete_checkpoints")),
    )
    op.create_index("ix_obsolete_checkpoints_study_id_id", "obsolete_checkpoints", ["study_id", "id"], unique=False)
    op.create_index("ix_obsolete_checkpoints_trial_id", "obsolete_checkpoints", ["trial_id"], unique=False)
