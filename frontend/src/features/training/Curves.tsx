import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { CurvePoint } from '@/api/training'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'
import { useDarkMode } from './useDarkMode'

const HEIGHT = 220
const FONT = '12px system-ui, sans-serif'

interface CurvesProps {
  points: readonly CurvePoint[]
  /** Of the whole run: both plots end there, and fill up as it goes on. */
  steps: number
}

/** Loss, and beside it the accuracy on held-out people where it was measured. Drawn outside React. */
export function Curves({ points, steps }: CurvesProps) {
  const { t, locale } = useI18n()
  const theme = usePreferences((state) => state.theme)
  const isDark = useDarkMode()
  const judged = points.filter((point) => point.val_accuracy !== null)
  // A canvas follows neither theme nor language by itself: another key draws it anew.
  const key = `${theme} ${isDark} ${locale}`
  return (
    <div className="grid gap-6 lg:grid-cols-2">
      <Plot
        key={`loss ${key}`}
        title={t.training.curves.loss}
        steps={steps}
        data={[points.map((point) => point.step), points.map((point) => point.loss)]}
      />
      {judged.length > 0 && (
        <Plot
          key={`accuracy ${key}`}
          title={t.training.curves.accuracy}
          steps={steps}
          data={[judged.map((point) => point.step), judged.map((point) => point.val_accuracy)]}
          isFraction
        />
      )}
    </div>
  )
}

interface PlotProps {
  title: string
  steps: number
  data: [number[], (number | null)[]]
  /** From 0 to 1, with a dot for each value. */
  isFraction?: boolean
}

function Plot({ title, steps, data, isFraction = false }: PlotProps) {
  const { t, locale } = useI18n()
  const frame = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const stepLabel = t.training.curves.step

  useEffect(() => {
    const element = frame.current
    if (!element) return
    const { muted, line, accent } = readColours(element)
    const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: FONT }
    const format = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 })
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: [0, steps] },
          y: { range: (_plot, low, high) => (isFraction ? [0, 1] : [Math.min(0, low), Math.max(high, 0.1)]) },
        },
        axes: [
          { ...axis, label: stepLabel, labelFont: FONT, labelSize: 20, size: 30 },
          { ...axis, size: 46, values: (_plot, splits) => splits.map((value) => format.format(value)) },
        ],
        series: [{}, { stroke: accent, width: 2, points: { show: isFraction, size: 6, fill: accent, stroke: accent } }],
      },
      [[], []],
      element,
    )
    plot.current = made
    const resized = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: HEIGHT })
    })
    resized.observe(element)
    return () => {
      resized.disconnect()
      made.destroy()
    }
  }, [isFraction, locale, stepLabel, steps])

  useEffect(() => {
    plot.current?.setData(data)
  }, [data])

  return (
    <figure className="min-w-0">
      <figcaption className="mb-1 text-sm font-medium">{title}</figcaption>
      <div ref={frame} aria-hidden className="overflow-hidden" style={{ height: HEIGHT }} />
    </figure>
  )
}

/** A canvas knows neither our variables nor light-dark(): ask the browser what they come to here. */
function readColours(element: HTMLElement): Record<'muted' | 'line' | 'accent', string> {
  const probe = document.createElement('span')
  element.append(probe)
  const read = (name: string) => {
    probe.style.color = `var(--${name})`
    return getComputedStyle(probe).color
  }
  const colours = { muted: read('muted'), line: read('line'), accent: read('accent') }
  probe.remove()
  return colours
}
