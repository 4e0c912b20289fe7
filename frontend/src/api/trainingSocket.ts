/**
 * Watches one training session until it has ended. Knows no React.
 *
 * States: connecting -> open -> (reconnecting -> open)* -> closed. What was received is never asked for again: a new
 * connection begins at the last cursor.
 */
import type { CurvePoint, TrainingUpdate } from './training'
import type { WebSocketLike } from './SignFlowSocket'

export type WatchState = 'connecting' | 'open' | 'reconnecting' | 'ended' | 'refused' | 'gone'

export interface WatchOptions {
  url: string
  token: string
  onUpdate(update: TrainingUpdate): void
  onState(state: WatchState): void
  createWebSocket?: (url: string) => WebSocketLike
}

/** `TrainingCloseCode` of the server. */
const ENDED = 1000
const NOT_ALLOWED = 4010
const NOT_FOUND = 4011
const FIRST_RETRY_S = 0.5
const LAST_RETRY_S = 10

export interface Watch {
  /** Looks again at once: a session that had ended was resumed. */
  again(): void
  stop(): void
}

/** Starts watching. */
export function watchTraining(options: WatchOptions): Watch {
  const create = options.createWebSocket ?? ((url: string) => new WebSocket(url))
  let cursor = 0
  let retryS = FIRST_RETRY_S
  let timer: ReturnType<typeof setTimeout> | undefined
  let socket: WebSocketLike | undefined
  let stopped = false

  function connect(): void {
    clearTimeout(timer)
    const current = create(options.url)
    socket = current
    current.onopen = () => {
      current.send(JSON.stringify({ token: options.token, cursor }))
    }
    current.onmessage = (event) => {
      const update = JSON.parse(String(event.data)) as TrainingUpdate
      cursor = update.cursor
      retryS = FIRST_RETRY_S
      options.onState('open')
      options.onUpdate(update)
    }
    current.onclose = (event) => {
      if (stopped || socket !== current) return
      const final = { [ENDED]: 'ended', [NOT_ALLOWED]: 'refused', [NOT_FOUND]: 'gone' } as const
      const state = final[event.code as keyof typeof final]
      options.onState(state ?? 'reconnecting')
      if (state !== undefined) return
      timer = setTimeout(connect, retryS * 1000)
      retryS = Math.min(retryS * 2, LAST_RETRY_S)
    }
  }

  options.onState('connecting')
  connect()
  return {
    again() {
      const before = socket
      connect()
      before?.close()
    },
    stop() {
      stopped = true
      clearTimeout(timer)
      socket?.close()
    },
  }
}

/** Adds new points: a point at or before a known one replaces it and all after it. */
export function mergePoints(known: readonly CurvePoint[], news: readonly CurvePoint[]): CurvePoint[] {
  const first = news[0]
  if (first === undefined) return [...known]
  return [...known.filter((point) => point.step < first.step), ...news]
}

/** Address of a session's live socket. */
export function trainingSocketUrl(sessionId: string, origin: string = window.location.origin): string {
  return `${origin.replace(/^http/, 'ws')}/api/v1/training/sessions/${sessionId}/stream`
}
