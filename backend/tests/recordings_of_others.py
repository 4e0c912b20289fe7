"""Writes clips in the layouts of other projects, so that importers can be tested without anybody's data."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions
from pyarrow import parquet

from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND
from app.ml.recordings.clips import Clip

HOLISTIC = ("POSE_LANDMARKS", "FACE_LANDMARKS", "LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")


def write_mp_data(root: Path, clips_of: Mapping[str, Sequence[Clip]], *, num_values: int) -> None:
    """`ACTION/SEQUENCE/FRAME.npy` with `num_values` a frame; missing parts are zeros."""
    for action, clips in clips_of.items():
        for number, clip in enumerate(clips):
            folder = root / action / str(number)
            folder.mkdir(parents=True)
            landmarks = np.nan_to_num(clip.landmarks)
            pose, hands = landmarks[:, POSE], landmarks[:, LEFT_HAND.start :].reshape(clip.num_frames, -1)
            if num_values != 225:
                is_seen = np.isfinite(clip.landmarks[:, POSE, :1])
                pose = np.concatenate([pose, np.where(is_seen, 0.9, 0.0)], axis=2)
            face = np.full((clip.num_frames, 468 * 3 if num_values == 1662 else 0), 0.5)
            values = np.concatenate([pose.reshape(clip.num_frames, -1), face, hands], axis=1)
            assert values.shape[1] == num_values
            for frame, row in enumerate(values):
                np.save(folder / f"{frame}.npy", row)


def write_pose_file(path: Path, clip: Clip, *, fps: float, names: Sequence[str] = HOLISTIC) -> None:
    """A `.pose` file as pose-format's own MediaPipe converter lays it out: pixels, confidence 0 where missing."""
    parts = {"POSE_LANDMARKS": POSE, "LEFT_HAND_LANDMARKS": LEFT_HAND, "RIGHT_HAND_LANDMARKS": RIGHT_HAND}
    blocks = [clip.landmarks[:, parts[name]] if name in parts else np.ones((clip.num_frames, 5, 3)) for name in names]
    components = [
        PoseHeaderComponent(name, [str(i) for i in range(block.shape[1])], [], [], "XYZC")
        for name, block in zip(names, blocks, strict=True)
    ]
    header = PoseHeader(0.2, PoseHeaderDimensions(clip.width, clip.height, 1), components)
    points = np.concatenate(blocks, axis=1) * (clip.width, clip.height, 1.0)
    confidence = np.isfinite(points[..., 0]).astype(np.float32)
    body = NumPyPoseBody(fps, np.nan_to_num(points)[:, None].astype(np.float32), confidence[:, None])
    with path.open("wb") as file:
        Pose(header, body).write(file)


def write_asl_signs(root: Path, clips: Sequence[Clip]) -> None:
    """`train.csv` and one parquet file a clip, one row a point, as Kaggle's asl-signs has them."""
    with (root / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "participant_id", "sequence_id", "sign"])
        for number, clip in enumerate(clips):
            path = f"train_landmark_files/{clip.signer}/{1000 + number}.parquet"
            table.writerow([path, clip.signer, 1000 + number, clip.label])
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.table(_rows_of(clip)), root / path)


def _rows_of(clip: Clip) -> dict[str, object]:
    kinds = (("face", None, 3), ("left_hand", LEFT_HAND, 21), ("pose", POSE, 33), ("right_hand", RIGHT_HAND, 21))
    frames, types, index, values = [], [], [], []
    for frame, landmarks in enumerate(clip.landmarks):
        for kind, part, count in kinds:
            frames += [20 + frame] * count
            types += [kind] * count
            index += range(count)
            values.append(np.full((count, 3), 0.5) if part is None else landmarks[part])
    points = np.concatenate(values)
    return {
        "frame": pa.array(frames, pa.int16()),
        "type": pa.array(types),
        "landmark_index": pa.array(index, pa.int16()),
        **{axis: pa.array(points[:, position], from_pandas=True) for position, axis in enumerate("xyz")},
    }
