/**
 * Assembles `holistic_landmarker.task`, the models that find the 75 points, from the .tflite files of the npm package
 * @mediapipe/holistic. No package ships this bundle, and the page may not fetch it from elsewhere.
 *
 * Reads node_modules/@mediapipe/holistic; writes .cache/mediapipe/holistic_landmarker.task, which Vite then emits under a
 * hashed name. Does nothing when the bundle is newer than its sources.
 *
 *     node scripts/buildMediapipeBundle.mjs
 */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { zipSync } from 'fflate'
import { withImageMetadata } from './tfliteMetadata.mjs'

const SOURCE = dirname(createRequire(import.meta.url).resolve('@mediapipe/holistic/package.json'))
const TARGET = fileURLToPath(new URL('../.cache/mediapipe/holistic_landmarker.task', import.meta.url))

const DETECTOR = { mean: 127.5, std: 127.5 }
const LANDMARKS = { mean: 0, std: 255 }
/** Name in the bundle, file in the package, normalisation of its input. face_landmark_with_attention crashes here. */
const MODELS = [
  ['face_detector.tflite', 'face_detection_short_range.tflite', DETECTOR],
  ['face_landmarks_detector.tflite', 'face_landmark.tflite', LANDMARKS],
  ['hand_landmarks_detector.tflite', 'hand_landmark_full.tflite', LANDMARKS],
  ['hand_roi_refinement.tflite', 'hand_recrop.tflite', LANDMARKS],
  ['pose_detector.tflite', 'pose_detection.tflite', DETECTOR],
  ['pose_landmarks_detector.tflite', 'pose_landmark_full.tflite', LANDMARKS],
]

/** The files inside the package's packed data, whose loader script lists them. */
async function unpack() {
  const loader = await readFile(join(SOURCE, 'holistic_solution_packed_assets_loader.js'), 'utf8')
  const listing = /loadPackage\((\{"files".*\})\)/.exec(loader)?.[1]
  if (listing === undefined)
    throw new Error(`${SOURCE} has no list of packed files; expected @mediapipe/holistic 0.5.1675471629`)
  const data = await readFile(join(SOURCE, 'holistic_solution_packed_assets.data'))
  const files = new Map()
  for (const { filename, start, end } of JSON.parse(listing).files) {
    files.set(filename.split('/').at(-1), data.subarray(start, end))
  }
  return files
}

async function modified(path) {
  try {
    return (await stat(path)).mtimeMs
  } catch {
    return 0
  }
}

async function main() {
  const sources = [
    join(SOURCE, 'package.json'),
    fileURLToPath(import.meta.url),
    fileURLToPath(new URL('./tfliteMetadata.mjs', import.meta.url)),
  ]
  const newest = Math.max(...(await Promise.all(sources.map(modified))))
  if ((await modified(TARGET)) > newest) return

  const packed = await unpack()
  packed.set('pose_landmark_full.tflite', await readFile(join(SOURCE, 'pose_landmark_full.tflite')))
  const entries = {}
  for (const [name, file, normalisation] of MODELS) {
    const model = packed.get(file)
    if (model === undefined) throw new Error(`${SOURCE} has no ${file}; expected @mediapipe/holistic 0.5.1675471629`)
    entries[name] = withImageMetadata(new Uint8Array(model), normalisation)
  }
  // Stored, not deflated: MediaPipe maps the models in place. A fixed date gives the same bytes, and so the same hash, everywhere.
  const bundle = zipSync(entries, { level: 0, mtime: new Date(1980, 0, 1) })
  await mkdir(dirname(TARGET), { recursive: true })
  await writeFile(`${TARGET}.part`, bundle)
  await rename(`${TARGET}.part`, TARGET)
  process.stderr.write(`holistic_landmarker.task: ${(bundle.length / 1e6).toFixed(1)} MB\n`)
}

await main()
