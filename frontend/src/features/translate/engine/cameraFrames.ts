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

function copyPictures(
  detector: Detector,
  video: () => HTMLVideoElement | null,
  onFrame: (frame: DetectedFrame) => void,
): () => void {
  let running = true
  let lastMs = -Infinity

  const nextFrame = (element: HTMLVideoElement): Promise<number> =>
    new Promise((resolve) => {
      // Without requestVideoFrameCallback (older Firefox) the screen's own rhythm has to do.
      if (typeof element.requestVideoFrameCallback === 'function') {
        element.requestVideoFrameCallback((nowMs, metadata) => resolve(metadata.captureTime ?? nowMs))
      } else requestAnimationFrame(resolve)
    })

  const loop = async (): Promise<void> => {
    while (running) {
      const element = video()
      if (element === null || element.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
        await new Promise(requestAnimationFrame)
        continue
      }
      const timeMs = await nextFrame(element)
      if (!running || timeMs <= lastMs) continue
      lastMs = timeMs
      const picture = await createImageBitmap(element)
      const frame = await detector.detect(picture, timeMs)
      if (running) onFrame(frame)
    }
  }
  // What the detector itself could not do, it has already reported.
  loop().catch(() => {
    running = false
  })
  return () => {
    running = false
  }
}
