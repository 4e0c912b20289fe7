/**
 * The page's end of protocol `signflow.v1`: one session that survives lost connections.
 *
 * States: closed -> connecting -> open -> (reconnecting | busy) -> open ... -> closed. Frames and commands may be handed over in any
 * state after `open`; they wait in bounded queues until the server has said `ready`. Knows no React and no store.
 */
import { FrameQueue } from '@/api/frameQueue'
import { CloseCode, type ClientMessage, type Hello, type Ready, type ServerMessage } from '@/api/generated/wsMessages'
import { SUBPROTOCOL, encodeFrame } from '@/api/wire'

export type ConnectionState = 'closed' | 'connecting' | 'open' | 'reconnecting' | 'busy'

/** What the socket needs of a WebSocket, so that tests can bring their own. */
export type WebSocketLike = Pick<
  WebSocket,
  'binaryType' | 'bufferedAmount' | 'readyState' | 'send' | 'close' | 'onopen' | 'onmessage' | 'onclose'
>

export type StreamSettings = Required<Pick<Hello, 'width' | 'height' | 'mirrored' | 'pace' | 'locale'>>

export interface ConnectionDetail {
  /** Set while a next attempt is scheduled. */
  retryInS: number | null
  /** Set when a connection failed or was lost. */
  lost: { code: number; reason: string } | null
}

export interface SocketOptions {
  url: string
  onMessage(message: ServerMessage): void
  onConnection(state: ConnectionState, detail: ConnectionDetail): void
  createWebSocket?: (url: string, protocol: string) => WebSocketLike
  random?: () => number
}

/** Trying again would meet the same answer, or (superseded) take the session back from another tab. */
const FATAL_CODES = new Set<number>([CloseCode.TOO_BIG, CloseCode.ABUSE, CloseCode.SUPERSEDED, CloseCode.NO_MODEL])
/** What a connection that vanished closes with; no server sends it. */
const VANISHED = 1006
const FIRST_RETRY_S = 0.5
const LAST_RETRY_S = 15
/** Ten seconds at 30 frames a second: longer gaps are not worth catching up with. */
const LIVE_QUEUE_FRAMES = 300
const REPLAY_QUEUE_FRAMES = 1024
/** Frames that the server has reached and that another of its processes may need once more, for as many seconds as a sign may last. */
const HISTORY_FRAMES = 600
/** More than this waiting in the browser's own send buffer means that the network is slower than the camera. */
const HIGH_WATER_BYTES = 64 * 1024
const PUMP_AGAIN_MS = 20
const PING_S = 10
const NUM_WAITING_COMMANDS = 64
const OPEN = 1

interface Deferred {
  promise: Promise<void>
  resolve(): void
}

function deferred(): Deferred {
  const parts: Partial<Deferred> = {}
  const promise = new Promise<void>((resolve) => {
    parts.resolve = resolve
  })
  return { resolve: () => parts.resolve?.(), promise }
}

export class SignFlowSocket {
  private socket: WebSocketLike | null = null
  private stream: StreamSettings | null = null
  private queue = new FrameQueue(LIVE_QUEUE_FRAMES, HISTORY_FRAMES)
  private commands: ClientMessage[] = []
  private session: { id: string; resumeToken: string; lastSignId: number } | null = null
  private isReady = false
  private ending: Deferred | null = null
  private endSent = false
  private waiters: (() => void)[] = []
  private attempts = 0
  private retryTimer: ReturnType<typeof setTimeout> | null = null
  private pumpTimer: ReturnType<typeof setTimeout> | null = null
  private pingTimer: ReturnType<typeof setInterval> | null = null
  private awaitsAnswer = false
  private current: ConnectionState = 'closed'

  constructor(private readonly options: SocketOptions) {}

  get state(): ConnectionState {
    return this.current
  }

  /** Frames given up because the connection could not carry them. */
  get framesDropped(): number {
    return this.queue.dropped
  }

  /** Starts a new session for a stream, closing the one before. */
  open(stream: StreamSettings): void {
    this.close()
    this.stream = stream
    this.queue = new FrameQueue(stream.pace === 'replay' ? REPLAY_QUEUE_FRAMES : LIVE_QUEUE_FRAMES, HISTORY_FRAMES)
    this.connect('connecting')
  }

  /** The stream's frame size changed, as when a phone turns: a second hello, which the server takes as a reset. */
  restream(stream: StreamSettings): void {
    this.stream = stream
    this.queue.clear()
    if (this.isReady) this.transmit(this.hello())
  }

  /** Another language for captions: the session is resumed in it, since a second hello would reset the caption. */
  setLocale(locale: string): void {
    if (this.stream === null || this.stream.locale === locale) return
    this.stream = { ...this.stream, locale }
    if (!this.isReady) return
    this.drop(CloseCode.NORMAL)
    this.connect('reconnecting')
  }

  /** Hands over one frame; in `replay` wait for `writable` first, or the oldest frames may be lost. */
  sendFrame(frame: { timeMs: number; points: Float32Array }): void {
    this.queue.push((sequence) => encodeFrame({ ...frame, sequence }))
    this.pump()
  }

  /** Resolves when the queue has room, or the socket is closed. */
  async writable(): Promise<void> {
    while (this.stream !== null && this.queue.isFull) {
      await new Promise<void>((resolve) => this.waiters.push(resolve))
    }
  }

  /** Sends a command, after the frames that were handed over before it; waits for a lost connection to come back. */
  send(command: Extract<ClientMessage, { type: 'reset' | 'undo' | 'feedback' }>): void {
    if (this.stream === null) return
    this.commands.push(command)
    if (this.commands.length > NUM_WAITING_COMMANDS) this.commands.shift()
    this.pump()
  }

  /** Ends the stream: resolves when the server has answered everything before it, or the socket is closed. The session stays open. */
  finish(): Promise<void> {
    if (this.stream === null) return Promise.resolve()
    this.ending ??= deferred()
    this.pump()
    return this.ending.promise
  }

  /** Tries at once instead of waiting for the next attempt. */
  retryNow(): void {
    if (this.stream === null || this.socket !== null) return
    this.connect(this.session === null ? 'connecting' : 'reconnecting')
  }

  close(): void {
    this.stream = null
    this.session = null
    this.commands = []
    this.attempts = 0
    this.drop(CloseCode.NORMAL)
    this.settle()
    if (this.current !== 'closed') this.enter('closed')
  }

  private connect(state: 'connecting' | 'reconnecting'): void {
    if (this.retryTimer !== null) clearTimeout(this.retryTimer)
    this.retryTimer = null
    this.enter(state)
    const create = this.options.createWebSocket ?? ((url, protocol) => new WebSocket(url, protocol))
    const socket = create(this.options.url, SUBPROTOCOL)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.transmit(this.hello())
    socket.onmessage = (event: MessageEvent) => this.receive(event.data)
    socket.onclose = (event: CloseEvent) => this.lost(event.code, event.reason)
    this.socket = socket
    this.awaitsAnswer = false
    this.pingTimer = setInterval(() => this.beat(), PING_S * 1000)
  }

  private hello(): Hello {
    if (this.stream === null) throw new Error('the socket has no stream; call open first')
    return {
      type: 'hello',
      client: 'signflow-web',
      ...this.stream,
      ...(this.session === null || this.isReady
        ? {}
        : { resume_token: this.session.resumeToken, last_sign_id: this.session.lastSignId }),
    }
  }

  private receive(data: unknown): void {
    if (typeof data !== 'string') return
    this.awaitsAnswer = false
    const message = JSON.parse(data) as ServerMessage
    switch (message.type) {
      case 'ready':
        this.ready(message)
        return
      case 'sign':
        if (this.session !== null) {
          if (message.id <= this.session.lastSignId) return // sent again after a resume
          this.session.lastSignId = message.id
        }
        break
      case 'stats':
        this.acknowledge(message.last_sequence)
        break
      case 'ended':
        this.acknowledge(message.last_sequence)
        this.options.onMessage(message)
        this.finished()
        return
      case 'busy':
        this.options.onMessage(message)
        this.drop(CloseCode.BUSY)
        this.retryIn(message.retry_after_s * (1 + 0.2 * this.random()), 'busy', null)
        return
      default:
    }
    this.options.onMessage(message)
  }

  private ready(message: Ready): void {
    // A second hello is answered by the same session; only a new one counts its signs from 1 again.
    const lastSignId = message.session_id === this.session?.id ? this.session.lastSignId : 0
    this.session = { id: message.session_id, resumeToken: message.resume_token, lastSignId }
    this.attempts = 0
    if (message.resumed) {
      this.queue.resumeAfter(message.last_sequence)
      this.wake()
    }
    this.isReady = true
    this.options.onMessage(message)
    if (this.current !== 'open') this.enter('open')
    this.pump()
  }

  private acknowledge(sequence: number): void {
    this.queue.acknowledge(sequence)
    this.wake()
  }

  /** Sends what waits, oldest first, as long as the browser's buffer is not filling up. */
  private pump(): void {
    if (!this.isReady || this.socket === null || this.socket.readyState !== OPEN) return
    if (this.pumpTimer !== null) return
    while (this.socket.bufferedAmount < HIGH_WATER_BYTES) {
      const frame = this.queue.next()
      if (frame === null) {
        for (const command of this.commands.splice(0)) this.transmit(command)
        if (this.ending !== null && !this.endSent) {
          this.endSent = true
          this.transmit({ type: 'end' })
        }
        return
      }
      this.socket.send(frame)
    }
    this.pumpTimer = setTimeout(() => {
      this.pumpTimer = null
      this.pump()
    }, PUMP_AGAIN_MS)
  }

  /** A half-open connection never closes by itself: a ping without any answer until the next one means that it is dead. */
  private beat(): void {
    if (this.awaitsAnswer) {
      this.lost(VANISHED, 'no answer')
      return
    }
    this.awaitsAnswer = true
    if (this.isReady) this.transmit({ type: 'ping' })
  }

  private lost(code: number, reason: string): void {
    this.drop(code)
    if (this.stream === null) return
    if (FATAL_CODES.has(code)) {
      this.stream = null
      this.settle()
      this.enter('closed', null, { code, reason })
      return
    }
    const delayS = Math.min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** this.attempts) * (0.5 + this.random())
    this.attempts += 1
    this.retryIn(delayS, this.session === null ? 'connecting' : 'reconnecting', { code, reason })
  }

  private retryIn(delayS: number, state: ConnectionState, lost: ConnectionDetail['lost']): void {
    this.enter(state, delayS, lost)
    this.retryTimer = setTimeout(() => this.retryNow(), delayS * 1000)
  }

  /** Lets go of the WebSocket and its timers; the session and its queues stay. */
  private drop(code: number): void {
    for (const timer of [this.retryTimer, this.pumpTimer]) if (timer !== null) clearTimeout(timer)
    if (this.pingTimer !== null) clearInterval(this.pingTimer)
    this.retryTimer = this.pumpTimer = this.pingTimer = null
    this.isReady = false
    this.endSent = false
    this.queue.rewind()
    const socket = this.socket
    if (socket === null) return
    this.socket = null
    socket.onopen = socket.onmessage = socket.onclose = null
    // A page may only say 1000 or 3000-4999; every other code came from the other side.
    socket.close(code === CloseCode.NORMAL ? code : undefined)
  }

  private finished(): void {
    this.ending?.resolve()
    this.ending = null
    this.endSent = false
  }

  private settle(): void {
    this.finished()
    this.wake()
  }

  private wake(): void {
    for (const resolve of this.waiters.splice(0)) resolve()
  }

  private transmit(message: ClientMessage): void {
    this.socket?.send(JSON.stringify(message))
  }

  private enter(state: ConnectionState, retryInS: number | null = null, lost: ConnectionDetail['lost'] = null): void {
    this.current = state
    this.options.onConnection(state, { retryInS, lost })
  }

  private random(): number {
    return (this.options.random ?? Math.random)()
  }
}
