/** NumPy's `.npy` arrays, as far as clips hold them: numbers of any size, byte order and axis order; of texts only how many there are. */

/** The bytes are no `.npy` array that can be read here; the message says why. */
export class NpyError extends Error {
  override name = 'NpyError'
}

export interface NpyHeader {
  /** Letter and size, e.g. `f4`, `i8`, `b1`, `U5`, `M8[s]`; `V` for records. */
  dtype: string
  shape: number[]
  isLittleEndian: boolean
  isFortranOrder: boolean
  /** Where the values begin. */
  start: number
}

type Read = (view: DataView, offset: number, isLittleEndian: boolean) => number

const READERS: Readonly<Record<string, { bytes: number; read: Read }>> = {
  f2: { bytes: 2, read: (view, offset, little) => halfToNumber(view.getUint16(offset, little)) },
  f4: { bytes: 4, read: (view, offset, little) => view.getFloat32(offset, little) },
  f8: { bytes: 8, read: (view, offset, little) => view.getFloat64(offset, little) },
  i1: { bytes: 1, read: (view, offset) => view.getInt8(offset) },
  i2: { bytes: 2, read: (view, offset, little) => view.getInt16(offset, little) },
  i4: { bytes: 4, read: (view, offset, little) => view.getInt32(offset, little) },
  i8: { bytes: 8, read: (view, offset, little) => Number(view.getBigInt64(offset, little)) },
  u1: { bytes: 1, read: (view, offset) => view.getUint8(offset) },
  u2: { bytes: 2, read: (view, offset, little) => view.getUint16(offset, little) },
  u4: { bytes: 4, read: (view, offset, little) => view.getUint32(offset, little) },
  u8: { bytes: 8, read: (view, offset, little) => Number(view.getBigUint64(offset, little)) },
  b1: { bytes: 1, read: (view, offset) => view.getUint8(offset) },
}

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits, 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** Number of values of a shape; 1 for a single value, whose shape is empty. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

/** Whether the bytes begin as an array does. */
export function isNpy(file: Uint8Array): boolean {
  return file.length >= 12 && [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59].every((byte, index) => file[index] === byte)
}

/**
 * Reads what stands before the values; format versions 1 to 3.
 *
 * @throws NpyError no array, one of Python objects, or cut short
 */
export function readNpyHeader(file: Uint8Array): NpyHeader {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (!isNpy(file)) throw new NpyError('is not a NumPy array')
  const begin = file[6] === 1 ? 10 : 12
  const start = begin + (file[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true))
  const header = new TextDecoder().decode(file.subarray(begin, start))
  const [, order, type, isRecord] = /["']descr["']\s*:\s*(?:["']([<>|=]?)([^"']+)["']|(\[))/.exec(header) ?? []
  const isFortranOrder = /["']fortran_order["']\s*:\s*(True|False)/.exec(header)?.[1]
  const dimensions = /["']shape["']\s*:\s*\(([^)]*)\)/.exec(header)?.[1]
  const dtype = isRecord === undefined ? type : 'V'
  const shape = dimensions?.split(',').flatMap((part) => (part.trim() === '' ? [] : [Number.parseInt(part, 10)]))
  if (dtype === undefined || isFortranOrder === undefined || !shape?.every((dimension) => dimension >= 0)) {
    throw new NpyError(`has an unknown layout: ${header.trim()}`)
  }
  if (dtype.startsWith('O') || (isRecord !== undefined && /["']\|?O8?["']/.test(header))) {
    throw new NpyError('holds Python objects, which are never loaded')
  }
  if (file.length < start + sizeOf(shape) * bytesOf(dtype)) throw new NpyError('is cut short')
  return { dtype, shape, isLittleEndian: order !== '>', isFortranOrder: isFortranOrder === 'True', start }
}

/** Bytes of one value; 0 for records, of which no clip has any. */
function bytesOf(dtype: string): number {
  const number = Number(/^[A-Za-z](\d+)/.exec(dtype)?.[1] ?? 0)
  return dtype.startsWith('U') ? 4 * number : dtype.startsWith('M') || dtype.startsWith('m') ? 8 : number
}

/**
 * The numbers of an array, its last axis running fastest whatever the file's order.
 *
 * @throws NpyError the values are no numbers
 */
export function readNpyValues(file: Uint8Array, header: NpyHeader): Float64Array {
  const { dtype, shape, isLittleEndian, isFortranOrder, start } = header
  const reader = READERS[dtype]
  if (reader === undefined) throw new NpyError(`must be numbers, is ${dtype}`)
  const size = sizeOf(shape)
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const values = new Float64Array(size)
  for (let stored = 0; stored < size; stored += 1) {
    const value = reader.read(view, start + stored * reader.bytes, isLittleEndian)
    values[isFortranOrder ? fromFortran(stored, shape) : stored] = value
  }
  return values
}

/** Position, with the last axis running fastest, of the value that stands at `stored` with the first axis running fastest. */
function fromFortran(stored: number, shape: readonly number[]): number {
  let rest = stored
  let position = 0
  let stride = sizeOf(shape)
  for (const dimension of shape) {
    stride /= dimension
    position += (rest % dimension) * stride
    rest = Math.floor(rest / dimension)
  }
  return position
}
