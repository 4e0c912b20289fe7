/** Mean brightness of the picture, measured on a thumbnail and only once a second: reading pixels back is not free. */
const WIDTH = 32
const HEIGHT = 24
const INTERVAL_MS = 1000

/** Mean of Rec. 709 luma over RGBA bytes, in [0, 1]. */
export function meanLuminance(rgba: Uint8ClampedArray): number {
  let sum = 0
  for (let index = 0; index < rgba.length; index += 4) {
    sum += 0.2126 * (rgba[index] ?? 0) + 0.7152 * (rgba[index + 1] ?? 0) + 0.0722 * (rgba[index + 2] ?? 0)
  }
  return sum / (rgba.length / 4) / 255
}

export class LuminanceMeter {
  private context: OffscreenCanvasRenderingContext2D | null = null
  private nextMs = -Infinity

  /** @returns the brightness, or null when it was measured less than a second ago */
  measure(picture: CanvasImageSource, timeMs: number): number | null {
    if (timeMs < this.nextMs) return null
    this.nextMs = timeMs + INTERVAL_MS
    this.context ??= new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true })
    if (this.context === null) return null
    this.context.drawImage(picture, 0, 0, WIDTH, HEIGHT)
    return meanLuminance(this.context.getImageData(0, 0, WIDTH, HEIGHT).data)
  }

  reset(): void {
    this.nextMs = -Infinity
  }
}
