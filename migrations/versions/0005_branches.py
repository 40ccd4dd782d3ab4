"""branches: finding who else goes on from a checkpoint

Revision: 0005
Follows: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index(
        "ix_trials_branches", "trials", ["study_id", "checkpoint_uri"], unique=False, postgresql_where="why ? 'parent'"
    )
