/**
 * Writes .br and .gz siblings beside every built file that shrinks, so that the server sends them as they are.
 *
 * Reads and writes dist; keeps results in .cache/precompressed by content hash, because the models alone take ten seconds.
 *
 *     node scripts/precompress.mjs
 */
import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'

const DIST = fileURLToPath(new URL('../dist', import.meta.url))
const CACHE = fileURLToPath(new URL('../.cache/precompressed', import.meta.url))
const TYPES = new Set(['.html', '.js', '.css', '.svg', '.json', '.wasm', '.task', '.webmanifest', '.txt'])
const MIN_BYTES = 1024

const ENCODINGS = [
  {
    suffix: '.br',
    compress: (content) =>
      promisify(brotliCompress)(content, {
        params: {
          // Quality 11 would save 1.1 of 16 MB and take 80 s instead of 10.
          [constants.BROTLI_PARAM_QUALITY]: content.length > 4e6 ? 9 : 11,
          [constants.BROTLI_PARAM_LGWIN]: 24,
          [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
        },
      }),
  },
  { suffix: '.gz', compress: (content) => promisify(gzip)(content, { level: 9 }) },
]

async function exists(path) {
  try {
    await stat(path)
    return true
  } catch {
    return false
  }
}

async function compressFile(path) {
  const content = await readFile(path)
  if (content.length < MIN_BYTES) return null
  const hash = createHash('sha256').update(content).digest('hex')
  const sizes = { bytes: content.length }
  for (const { suffix, compress } of ENCODINGS) {
    const cached = join(CACHE, hash + suffix)
    if (!(await exists(cached))) {
      await writeFile(`${cached}.part`, await compress(content))
      await rename(`${cached}.part`, cached)
    }
    const { size } = await stat(cached)
    sizes[suffix] = size
    if (size < content.length * 0.98) await cp(cached, path + suffix)
  }
  return sizes
}

async function main() {
  await mkdir(CACHE, { recursive: true })
  const files = (await readdir(DIST, { recursive: true })).filter((file) => TYPES.has(extname(file)))
  let [bytes, sent] = [0, 0]
  for (const file of files) {
    const sizes = await compressFile(join(DIST, file))
    if (sizes === null) continue
    bytes += sizes.bytes
    sent += Math.min(sizes.bytes, sizes['.br'])
    if (sizes.bytes > 1e6)
      process.stderr.write(`${file}: ${sizes.bytes} bytes, ${sizes['.br']} as brotli, ${sizes['.gz']} as gzip\n`)
  }
  process.stderr.write(`dist: ${(bytes / 1e6).toFixed(1)} MB, ${(sent / 1e6).toFixed(1)} MB to transfer\n`)
}

await main()
