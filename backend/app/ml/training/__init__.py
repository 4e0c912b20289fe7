"""Parts of the trainer: schedules, averaging, mixup."""
