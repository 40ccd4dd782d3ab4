"""the best value over time, written down as it happens

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# What earlier versions did not write down: the best of the trials as they finished, and of the unfinished ones now.
# Studies with constraints on outcomes, or where less of the resource is another quantity, begin anew.
_DRAW = """WITH seen AS (
    SELECT t.study_id, t.number, t.objective, coalesce(t.finished_at, now()) AS at,
        CASE WHEN s.definition #>> '{objectives,0,direction}' = 'maximize' THEN -1 ELSE 1 END AS sign,
        sum(t.last_step) OVER (PARTITION BY t.study_id ORDER BY coalesce(t.finished_at, now()), t.number) AS steps
    FROM trials t JOIN studies s ON s.id = t.study_id
    WHERE t.objective > '-Infinity' AND t.objective < 'Infinity' AND NOT t.excluded
        AND jsonb_array_length(s.definition -> 'objectives') = 1
        AND coalesce(s.definition #>> '{objectives,0,by}', 'value') = 'value'
        AND coalesce(s.definition #>> '{resource,kind}', '') <> 'restart'
        AND coalesce(jsonb_array_length(s.definition -> 'outcome_constraints'), 0) = 0
), ranked AS (
    SELECT *, min(sign * objective) OVER (PARTITION BY study_id ORDER BY at, number
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM seen)
INSERT INTO improvements (study_id, trial_number, value, trials, steps, at)
SELECT study_id, number, objective, number + 1, steps, at FROM ranked
WHERE before IS NULL OR sign * objective < before ORDER BY study_id, at, number"""
_KEEP = """UPDATE studies s SET best = i.value, best_trial = i.trial_number
    FROM (SELECT DISTINCT ON (study_id) study_id, trial_number, value FROM improvements ORDER BY study_id, id DESC) i
    WHERE i.study_id = s.id"""


def upgrade() -> None:
    op.add_column("studies", sa.Column("best", sa.Double(), nullable=True))
    op.add_column("studies", sa.Column("best_trial", sa.Integer(), nullable=True))
    op.create_table(
        "improvements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_improvements_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_improvements")),
    )
    op.create_index("ix_improvements_study_id_id", "improvements", ["study_id", "id"], unique=False)
    op.execute(_DRAW)
    op.execute(_KEEP)
