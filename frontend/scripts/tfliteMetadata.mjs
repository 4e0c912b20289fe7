/**
 * Gives a TensorFlow Lite model the metadata that MediaPipe Tasks asks for: how its input image is normalised.
 *
 * A .tflite file is a FlatBuffer. Its offsets only point forward and are relative, so a new head (root table, buffer list,
 * metadata list) can be put in front of the unchanged old file and point into it: no weight is touched or copied.
 * Field numbers are those of TensorFlow's schema.fbs and of TFLite Support's metadata_schema.fbs.
 */
import { Builder } from 'flatbuffers'

const METADATA_NAME = 'TFLITE_METADATA'
const MODEL_FIELDS = 8
const MODEL = {
  operatorCodes: 1,
  subgraphs: 2,
  description: 3,
  buffers: 4,
  metadataBuffer: 5,
  metadata: 6,
  signatures: 7,
}
const IMAGE_PROPERTIES = 2 // in the union ContentProperties
const NORMALISATION_OPTIONS = 1 // in the union ProcessUnitOptions
const RGB = 1
/** Tensor data is aligned to 16 bytes inside the file, so the new head's length must be a multiple of that. */
const ALIGNMENT = 16

/** Where the field of a table lies, or null when it is absent. */
function fieldAt(view, table, field) {
  const vtable = table - view.getInt32(table, true)
  const slot = 4 + 2 * field
  const offset = slot < view.getUint16(vtable, true) ? view.getUint16(vtable + slot, true) : 0
  return offset === 0 ? null : table + offset
}

const follow = (view, position) => position + view.getUint32(position, true)

/** What a table's field points to, or null when the field is absent. */
function target(view, table, field) {
  const position = fieldAt(view, table, field)
  return position === null ? null : follow(view, position)
}

/** Positions of the tables in a vector of tables. */
function tablesIn(view, vector) {
  if (vector === null) return []
  return Array.from({ length: view.getUint32(vector, true) }, (_, index) => follow(view, vector + 4 + 4 * index))
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** True when the model already says how its input is normalised. */
export function hasMetadata(model) {
  const view = viewOf(model)
  const root = follow(view, 0)
  return tablesIn(view, target(view, root, MODEL.metadata)).some((entry) => {
    const name = target(view, entry, 0)
    return (
      name !== null &&
      Buffer.from(model.subarray(name + 4, name + 4 + view.getUint32(name, true))).toString() === METADATA_NAME
    )
  })
}

/** The ModelMetadata FlatBuffer: one RGB image input, normalised as (value - mean) / std. */
function describeImageInput({ mean, std }) {
  const builder = new Builder(512)
  const floats = (value) => {
    builder.startVector(4, 1, 4)
    builder.addFloat32(value)
    return builder.endVector()
  }
  const table = (numFields, fill) => {
    builder.startObject(numFields)
    fill()
    return builder.endObject()
  }
  const vectorOf = (offset) => {
    builder.startVector(4, 1, 4)
    builder.addOffset(offset)
    return builder.endVector()
  }
  const [means, stds] = [floats(mean), floats(std)]
  const options = table(2, () => {
    builder.addFieldOffset(0, means, 0)
    builder.addFieldOffset(1, stds, 0)
  })
  const unit = table(2, () => {
    builder.addFieldInt8(0, NORMALISATION_OPTIONS, 0)
    builder.addFieldOffset(1, options, 0)
  })
  const properties = table(2, () => builder.addFieldInt8(0, RGB, 0))
  const content = table(3, () => {
    builder.addFieldInt8(0, IMAGE_PROPERTIES, 0)
    builder.addFieldOffset(1, properties, 0)
  })
  const [name, units] = [builder.createString('image'), vectorOf(unit)]
  const tensor = table(7, () => {
    builder.addFieldOffset(0, name, 0)
    builder.addFieldOffset(3, content, 0)
    builder.addFieldOffset(4, units, 0)
  })
  const inputs = vectorOf(tensor)
  const subgraph = table(10, () => builder.addFieldOffset(2, inputs, 0))
  const subgraphs = vectorOf(subgraph)
  builder.finish(
    table(8, () => builder.addFieldOffset(3, subgraphs, 0)),
    'M001',
  )
  return builder.asUint8Array()
}

/** The builder counts offsets back from its end, where the old file begins: a position in that file is minus itself. */
const inOldFile = (position) => -position

/**
 * @param {Uint8Array} model the .tflite file
 * @param {{mean: number, std: number}} normalisation of the input image's values in 0..255
 * @returns {Uint8Array} the model with metadata; the same array when it already had some
 */
export function withImageMetadata(model, normalisation) {
  if (hasMetadata(model)) return model
  const view = viewOf(model)
  const root = follow(view, 0)
  const builder = new Builder(4096)
  builder.prep(ALIGNMENT, 0)

  const vectorOf = (offsets) => {
    builder.startVector(4, offsets.length, 4)
    for (const offset of offsets.toReversed()) builder.addOffset(offset)
    return builder.endVector()
  }
  const oldBuffers = tablesIn(view, target(view, root, MODEL.buffers)).map(inOldFile)
  const oldEntries = tablesIn(view, target(view, root, MODEL.metadata)).map(inOldFile)

  const description = describeImageInput(normalisation)
  builder.startVector(1, description.length, ALIGNMENT)
  for (const byte of description.toReversed()) builder.addInt8(byte)
  const data = builder.endVector()
  builder.startObject(1)
  builder.addFieldOffset(0, data, 0)
  const buffer = builder.endObject()

  const name = builder.createString(METADATA_NAME)
  builder.startObject(2)
  builder.addFieldOffset(0, name, 0)
  builder.addFieldInt32(1, oldBuffers.length, 0)
  const entry = builder.endObject()

  const fields = new Map([
    [MODEL.buffers, vectorOf([...oldBuffers, buffer])],
    [MODEL.metadata, vectorOf([...oldEntries, entry])],
  ])
  for (const field of [
    MODEL.operatorCodes,
    MODEL.subgraphs,
    MODEL.description,
    MODEL.metadataBuffer,
    MODEL.signatures,
  ]) {
    const position = target(view, root, field)
    if (position !== null) fields.set(field, inOldFile(position))
  }
  const version = fieldAt(view, root, 0)
  builder.startObject(MODEL_FIELDS)
  builder.addFieldInt32(0, version === null ? 0 : view.getUint32(version, true), 0)
  for (const [field, offset] of fields) builder.addFieldOffset(field, offset, 0)
  builder.finish(builder.endObject(), 'TFL3')

  const head = builder.asUint8Array()
  const result = new Uint8Array(head.length + model.length)
  result.set(head)
  result.set(model, head.length)
  return result
}
