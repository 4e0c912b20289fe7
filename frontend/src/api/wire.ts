/** The binary frame of protocol `signflow.v1`: one message of 920 bytes a frame, little-endian. */
import { LEFT_HAND_START, NUM_POINTS, NUM_VALUES, RIGHT_HAND_START, partPresence } from '@/lib/landmarks'

export const SUBPROTOCOL = 'signflow.v1'
export const HEADER_BYTES = 20
export const FRAME_BYTES = HEADER_BYTES + NUM_VALUES * 4

const VERSION = 1
const FLOAT32 = 0
const [POSE_FLAG, LEFT_FLAG, RIGHT_FLAG] = [1, 2, 4]

export interface WireFrame {
  /** uint32, increasing by one a frame within a session. */
  sequence: number
  /** Capture time in milliseconds, increasing within a session. */
  timeMs: number
  /** 225 values; missing parts are NaN. */
  points: Float32Array
}

/**
 * Encodes one frame: `SF`, version, flags (pose 1, left 2, right 4), sequence, capture time, number of points, dtype, points.
 *
 * @throws RangeError when `points` does not hold 225 values
 */
export function encodeFrame({ sequence, timeMs, points }: WireFrame): ArrayBuffer {
  if (points.length !== NUM_VALUES) {
    throw new RangeError(`a frame has ${NUM_VALUES} values (${NUM_POINTS} points), not ${points.length}`)
  }
  const presence = partPresence(points)
  const view = new DataView(new ArrayBuffer(FRAME_BYTES))
  view.setUint8(0, 0x53)
  view.setUint8(1, 0x46)
  view.setUint8(2, VERSION)
  view.setUint8(
    3,
    (presence.pose ? POSE_FLAG : 0) | (presence.left ? LEFT_FLAG : 0) | (presence.right ? RIGHT_FLAG : 0),
  )
  view.setUint32(4, sequence, true)
  view.setFloat64(8, timeMs, true)
  view.setUint16(16, NUM_POINTS, true)
  view.setUint16(18, FLOAT32, true)
  points.forEach((value, index) => {
    const point = Math.floor(index / 3)
    const present = point < LEFT_HAND_START ? presence.pose : point < RIGHT_HAND_START ? presence.left : presence.right
    view.setFloat32(HEADER_BYTES + index * 4, present ? value : Number.NaN, true)
  })
  return view.buffer as ArrayBuffer
}
