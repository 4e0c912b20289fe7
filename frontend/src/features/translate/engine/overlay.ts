/** Draws the skeleton over the preview, outside React, at most once a screen refresh. */
import {
  HAND_EDGES,
  LEFT_HAND_START,
  NUM_HAND,
  POSE_EDGES,
  RIGHT_HAND_START,
  shoulderWidth,
  type Edge,
} from '@/lib/landmarks'

export interface OverlayFrame {
  points: Float32Array
  width: number
  height: number
  /** A picture to draw under the skeleton: the frame of a video file. */
  picture?: CanvasImageSource
}

interface Layer {
  edges: readonly Edge[]
  start: number
  count: number
  colour: string
}

/** Bright on dark and on light pictures; the hands differ by colour from the body and from each other. */
const LAYERS: readonly Layer[] = [
  { edges: POSE_EDGES, start: 0, count: 0, colour: 'rgb(255 255 255 / 0.75)' },
  { edges: HAND_EDGES, start: LEFT_HAND_START, count: NUM_HAND, colour: 'rgb(56 189 248)' },
  { edges: HAND_EDGES, start: RIGHT_HAND_START, count: NUM_HAND, colour: 'rgb(251 191 36)' },
]
/** Line width as a part of the shoulders' width, so that a distant person is not covered by the drawing. */
const LINE = 0.014

export class Overlay {
  private canvas: HTMLCanvasElement | null = null
  private frame: OverlayFrame | null = null
  private isVisible = true
  private request: number | null = null

  attach(canvas: HTMLCanvasElement): void {
    this.canvas = canvas
    this.schedule()
  }

  detach(): void {
    if (this.request !== null) cancelAnimationFrame(this.request)
    this.request = null
    this.canvas = null
  }

  setVisible(visible: boolean): void {
    this.isVisible = visible
    this.schedule()
  }

  show(frame: OverlayFrame): void {
    this.frame = frame
    this.schedule()
  }

  clear(): void {
    this.frame = null
    this.schedule()
  }

  private schedule(): void {
    if (this.canvas === null || this.request !== null) return
    this.request = requestAnimationFrame(() => {
      this.request = null
      this.draw()
    })
  }

  private draw(): void {
    const { canvas, frame } = this
    const context = canvas?.getContext('2d')
    if (!canvas || !context) return
    if (frame !== null && (canvas.width !== frame.width || canvas.height !== frame.height)) {
      canvas.width = frame.width
      canvas.height = frame.height
    } else context.clearRect(0, 0, canvas.width, canvas.height)
    if (frame === null) return
    if (frame.picture !== undefined) context.drawImage(frame.picture, 0, 0, frame.width, frame.height)
    if (this.isVisible) drawSkeleton(context, frame)
  }
}

export function drawSkeleton(context: CanvasRenderingContext2D, { points, width, height }: OverlayFrame): void {
  const at = (index: number): [number, number] => [
    (points[index * 3] ?? Number.NaN) * width,
    (points[index * 3 + 1] ?? Number.NaN) * height,
  ]
  const lineWidth = Math.max(1.5, LINE * (shoulderWidth(points, width, height) ?? 0.3) * height)
  context.lineCap = 'round'
  for (const { edges, start, count, colour } of LAYERS) {
    context.strokeStyle = context.fillStyle = colour
    context.lineWidth = lineWidth
    context.beginPath()
    for (const [from, to] of edges) {
      const [x0, y0] = at(start + from)
      const [x1, y1] = at(start + to)
      if (Number.isNaN(x0 + y0 + x1 + y1)) continue
      context.moveTo(x0, y0)
      context.lineTo(x1, y1)
    }
    context.stroke()
    context.beginPath()
    for (let index = 0; index < count; index += 1) {
      const [x, y] = at(start + index)
      if (Number.isNaN(x + y)) continue
      context.moveTo(x + lineWidth, y)
      context.arc(x, y, lineWidth, 0, 2 * Math.PI)
    }
    context.fill()
  }
}
