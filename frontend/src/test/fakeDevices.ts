/** Cameras that exist only in a test. */

export class FakeTrack extends EventTarget {
  stopped = false

  stop(): void {
    this.stopped = true
  }

  clone(): FakeTrack {
    return new FakeTrack()
  }

  getSettings(): MediaTrackSettings {
    return { deviceId: 'camera-1' }
  }
}

export function fakeCamera(deviceId: string, label: string): MediaDeviceInfo {
  return { deviceId, label, kind: 'videoinput', groupId: '', toJSON: () => ({}) }
}

export interface FakeDevicesOptions {
  cameras?: MediaDeviceInfo[]
  track?: FakeTrack
  /** The error with which a request fails, or null to grant it. */
  refuse?: (constraints: MediaTrackConstraints) => Error | null
}

export function fakeDevices({ cameras = [], track = new FakeTrack(), refuse }: FakeDevicesOptions = {}): MediaDevices {
  const devices = Object.assign(new EventTarget(), {
    enumerateDevices: () => Promise.resolve(cameras),
    getUserMedia: ({ video }: { video: MediaTrackConstraints }) => {
      const error = refuse?.(video) ?? null
      if (error !== null) return Promise.reject(error)
      return Promise.resolve({ getVideoTracks: () => [track], getTracks: () => [track] })
    },
  })
  return devices as unknown as MediaDevices
}
