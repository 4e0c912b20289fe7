/** Zip archives as numpy writes and reads them: what is damaged or encrypted is refused, which fflate alone does not notice. */
import { unzipSync } from 'fflate'

/** The bytes are no zip archive that can be read here; the message says why. */
export class ZipError extends Error {
  override name = 'ZipError'
}

const END = 0x06054b50
const END_BYTES = 22
const MOST_COMMENT_BYTES = 0xffff
const ENTRY = 0x02014b50
const ENTRY_BYTES = 46
const FILE = 0x04034b50
const FILE_BYTES = 30
const FLAG_ENCRYPTED = 1
const DAMAGED = 'the directory of the file is damaged'

/** Remainders of CRC-32 (ISO 3309, as zip uses it), by the lowest byte. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte
  for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0)
  return rest
})

function checksum(bytes: Uint8Array): number {
  let rest = 0xffffffff
  for (const byte of bytes) rest = (rest >>> 8) ^ (CRC_TABLE[(rest ^ byte) & 0xff] ?? 0)
  return ~rest >>> 0
}

/**
 * Every file of an archive by its name.
 *
 * @throws ZipError no archive, cut short, damaged, encrypted, or packed by another method than deflate
 */
export function readZip(bytes: Uint8Array): Map<string, Uint8Array> {
  const checksums = readDirectory(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  let contents: Record<string, Uint8Array>
  try {
    contents = unzipSync(bytes)
  } catch (error) {
    throw new ZipError('this is not a .npz file, or it is damaged', { cause: error })
  }
  for (const [name, content] of Object.entries(contents)) {
    if (checksum(content) !== checksums.get(name)) throw new ZipError(`"${name}" is damaged: its checksum is another`)
  }
  return new Map(Object.entries(contents))
}

/** The checksum of each file, from the directory at the archive's end; each name must stand before its file too. */
function readDirectory(view: DataView): Map<string, number> {
  const end = findEnd(view)
  const checksums = new Map<string, number>()
  let entry = view.getUint32(end + 16, true)
  const last = entry + view.getUint32(end + 12, true)
  if (last > end) throw new ZipError(DAMAGED)
  while (entry < last) {
    if (entry + ENTRY_BYTES > last || view.getUint32(entry, true) !== ENTRY) throw new ZipError(DAMAGED)
    if (view.getUint16(entry + 8, true) & FLAG_ENCRYPTED) throw new ZipError('the file is encrypted')
    const name = readName(view, entry + ENTRY_BYTES, view.getUint16(entry + 28, true))
    const file = view.getUint32(entry + 42, true)
    if (file + FILE_BYTES > end || view.getUint32(file, true) !== FILE) throw new ZipError(DAMAGED)
    if (readName(view, file + FILE_BYTES, view.getUint16(file + 26, true)) !== name) throw new ZipError(DAMAGED)
    checksums.set(name, view.getUint32(entry + 16, true))
    const [nameBytes = 0, extraBytes = 0, commentBytes = 0] = [28, 30, 32].map((at) => view.getUint16(entry + at, true))
    entry += ENTRY_BYTES + nameBytes + extraBytes + commentBytes
  }
  return checksums
}

function readName(view: DataView, start: number, length: number): string {
  if (start + length > view.byteLength) throw new ZipError(DAMAGED)
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + start, length))
}

function findEnd(view: DataView): number {
  const last = view.byteLength - END_BYTES
  for (let at = last; at >= 0 && last - at <= MOST_COMMENT_BYTES; at -= 1) {
    if (view.getUint32(at, true) === END) return at
  }
  throw new ZipError('this is not a .npz file, or it is cut short')
}
