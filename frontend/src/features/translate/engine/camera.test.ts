import { describe, expect, it } from 'vitest'
import { fakeCamera, fakeDevices } from '@/test/fakeDevices'
import { listCameras, openCamera } from './camera'

describe('openCamera', () => {
  it.each([
    ['NotAllowedError', 'camera_refused'],
    ['SecurityError', 'camera_refused'],
    ['NotFoundError', 'camera_missing'],
    ['NotReadableError', 'camera_busy'],
    ['AbortError', 'camera_busy'],
    ['OverconstrainedError', 'camera_missing'],
    ['SomethingNewError', 'camera_missing'],
  ])('says what a %s means', async (name, problem) => {
    const devices = fakeDevices({ refuse: () => new DOMException('no', name) })

    await expect(openCamera(devices, null)).rejects.toMatchObject({ problem })
  })

  it('says that a page over plain HTTP gets no camera', async () => {
    await expect(openCamera(undefined, null)).rejects.toMatchObject({ problem: 'insecure_origin' })
  })

  it('takes any camera when the chosen one has gone', async () => {
    const devices = fakeDevices({
      refuse: ({ deviceId }) => (deviceId === undefined ? null : new DOMException('gone', 'OverconstrainedError')),
    })

    await expect(openCamera(devices, 'old')).resolves.toMatchObject({ id: 'camera-1' })
  })

  it('does not take another camera when the chosen one was refused', async () => {
    const devices = fakeDevices({ refuse: () => new DOMException('no', 'NotAllowedError') })

    await expect(openCamera(devices, 'old')).rejects.toMatchObject({ problem: 'camera_refused' })
  })
})

describe('listCameras', () => {
  it('names cameras whose names are still hidden', async () => {
    const devices = fakeDevices({ cameras: [fakeCamera('a', 'Front'), fakeCamera('b', '')] })

    await expect(listCameras(devices)).resolves.toEqual([
      { id: 'a', label: 'Front' },
      { id: 'b', label: 'Camera 2' },
    ])
  })
})
