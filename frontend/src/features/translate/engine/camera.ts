/** Opens a camera, lists the cameras, and says when one goes away. Nothing here touches the pixels. */
import { EngineError, cameraProblem } from './problems'

export interface CameraDevice {
  id: string
  label: string
}

export interface OpenCamera {
  stream: MediaStream
  track: MediaStreamTrack
  id: string | null
}

/** MediaPipe was measured at this size; larger frames only cost time. */
const SIZE: MediaTrackConstraints & { resizeMode: string } = {
  width: { ideal: 640 },
  height: { ideal: 480 },
  frameRate: { ideal: 30 },
  // Chromium would rather crop a camera's picture to these numbers than deliver its own size, and cut off hands.
  resizeMode: 'none',
}

/**
 * Asks for a camera. A camera that is no longer there falls back to any other.
 *
 * @throws EngineError with the problem to show
 */
export async function openCamera(devices: MediaDevices | undefined, cameraId: string | null): Promise<OpenCamera> {
  if (devices === undefined) {
    throw window.isSecureContext
      ? new EngineError('camera_missing', 'this browser gives pages no camera')
      : new EngineError('insecure_origin', 'a page opened over plain HTTP may not use the camera')
  }
  try {
    const stream = await requestStream(devices, cameraId)
    const track = stream.getVideoTracks()[0]
    if (track === undefined) throw new EngineError('camera_missing', 'the camera stream has no picture')
    return { stream, track, id: track.getSettings().deviceId ?? null }
  } catch (error) {
    throw cameraProblem(error)
  }
}

async function requestStream(devices: MediaDevices, cameraId: string | null): Promise<MediaStream> {
  if (cameraId === null) return devices.getUserMedia({ video: { ...SIZE, facingMode: 'user' }, audio: false })
  try {
    return await devices.getUserMedia({ video: { ...SIZE, deviceId: { exact: cameraId } }, audio: false })
  } catch (error) {
    if (cameraProblem(error).problem !== 'camera_missing') throw error
    return devices.getUserMedia({ video: SIZE, audio: false })
  }
}

/** The cameras, with their names once the person has allowed one. */
export async function listCameras(devices: MediaDevices | undefined): Promise<CameraDevice[]> {
  if (devices === undefined) return []
  const all = await devices.enumerateDevices()
  return all
    .filter((device) => device.kind === 'videoinput')
    .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }))
}

export function closeCamera(camera: OpenCamera): void {
  for (const track of camera.stream.getTracks()) track.stop()
}
