"""branches: finding who else goes on from a checkpoint; schedules that are changed in flight

Revision: 0005
Follows: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("trials", sa.Column("schedule", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index(
        "ix_trials_branches", "trials", ["study_id", "checkpoint_uri"], unique=False, postgresql_where="why ? 'parent'"
    )
