/**
 * Brings the camera's frames to the detector: in Chromium the worker reads them itself; elsewhere the page copies one picture at a time
 * from the playing video. Either way only the newest frame is detected, so a slow machine gets fewer frames, never late ones.
 */
import type { Detector } from './detector'
import type { DetectedFrame } from './detectorMessages'

interface TrackProcessor {
  readable: ReadableStream<VideoFrame>
}

declare global {
  interface Window {
    MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack; maxBufferSize?: number }) => TrackProcessor
  }
}

/** Starts detecting; returns what stops it. */
export function watchCamera(
  detector: Detector,
  track: MediaStreamTrack,
  video: () => HTMLVideoElement | null,
  onFrame: (frame: DetectedFrame) => void,
): () => void {
  if (window.MediaStreamTrackProcessor !== undefined) {
    // A clone, so that the reader's end does not end the preview.
    const copy = track.clone()
    detector.watch(new window.MediaStreamTrackProcessor({ track: copy, maxBufferSize: 1 }).readable)
    return () => copy.stop()
  }
  return copyPictures(detector, video, onFrame)
}

/** The capture time of the next picture of a playing video. */
function nextPicture(video: HTMLVideoElement): Promise<number> {
  return new Promise((resolve) => {
    // Without requestVideoFrameCallback (older Firefox) the screen's own rhythm has to do.
    if (typeof video.requestVideoFrameCallback === 'function') {
      video.requestVideoFrameCallback((nowMs, metadata) => resolve(metadata.captureTime ?? nowMs))
    } else requestAnimationFrame(resolve)
  })
}

function copyPictures(
  detector: Detector,
  video: () => HTMLVideoElement | null,
  onFrame: (frame: DetectedFrame) => void,
): () => void {
  const stopped = new AbortController()
  const { signal } = stopped
  let lastMs = -Infinity

  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      const element = video()
      if (element === null || element.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
        await new Promise(requestAnimationFrame)
        continue
      }
      const timeMs = await nextPicture(element)
      if (signal.aborted || timeMs <= lastMs) continue
      lastMs = timeMs
      const frame = await detector.detect(await createImageBitmap(element), timeMs)
      if (!signal.aborted) onFrame(frame)
    }
  }
  // What the detector could not do it has reported itself, and a source that was replaced has nothing left to say.
  loop().catch(() => stopped.abort())
  return () => stopped.abort()
}
