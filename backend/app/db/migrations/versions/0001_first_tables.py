"""First tables: signs, model versions, feedback clips."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "signs",
        sa.Column("language", sa.String(3), primary_key=True),
        sa.Column("label", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("backend", sa.String(32), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("num_labels", sa.Integer(), nullable=False),
        sa.Column("first_loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("version", "sha256", "backend", name="uq_model_versions_file"),
    )
    op.create_table(
        "feedback_clips",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("giver_hash", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(32), nullable=False),
        sa.Column("sign_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("predicted_label", sa.String(64), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clip", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("session_id", "sign_id", name="uq_feedback_clips_sign"),
    )
    op.create_index("ix_feedback_clips_giver_hash", "feedback_clips", ["giver_hash"])
    op.create_index("ix_feedback_clips_created_at", "feedback_clips", ["created_at"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("feedback_clips")
    op.drop_table("model_versions")
    op.drop_table("signs")
