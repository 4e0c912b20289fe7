/** The page's talk with the server: sends the frames of one stream after another, and writes the answers into the store. */
import type { StoreApi } from 'zustand/vanilla'
import { CloseCode, type ServerMessage } from '@/api/generated/wsMessages'
import {
  SignFlowSocket,
  type ConnectionDetail,
  type ConnectionState,
  type SocketOptions,
  type StreamSettings,
} from '@/api/SignFlowSocket'
import type { TranslateState } from '../model'
import { EngineError } from './problems'
import type { StageBoard } from './stages'
import { FIRST_SESSION, afterReset, changes, nextSession, withLastUndone } from './state'

export interface Frame {
  timeMs: number
  points: Float32Array
}

const NO_STREAM: StreamSettings = { width: 640, height: 480, mirrored: false, pace: 'live', locale: 'en' }

export class Conversation {
  private readonly socket: SignFlowSocket
  private session = FIRST_SESSION
  private sessionId: string | null = null
  private stream = NO_STREAM
  private serverDropped = 0

  constructor(
    private readonly store: StoreApi<TranslateState>,
    private readonly stages: StageBoard,
    options: Pick<SocketOptions, 'url' | 'createWebSocket'>,
  ) {
    this.socket = new SignFlowSocket({
      ...options,
      onMessage: (message) => this.receive(message),
      onConnection: (state, detail) => this.connectionChanged(state, detail),
    })
  }

  get isClosed(): boolean {
    return this.socket.state === 'closed'
  }

  /** Frames that were lost on the way or given up by the server. */
  get framesDropped(): number {
    return this.serverDropped + this.socket.framesDropped
  }

  /** A new stream, in a session of its own; what is on the page stays. */
  open(stream: Omit<StreamSettings, 'locale'>): void {
    this.session = nextSession(this.store.getState())
    this.sessionId = null
    this.serverDropped = 0
    this.stream = { ...stream, locale: this.stream.locale }
    this.stages.set('server', 'working')
    this.socket.open(this.stream)
  }

  /** The pictures have this size from now on; a turned phone is a new stream to the server. */
  resize(width: number, height: number): void {
    if (width === this.stream.width && height === this.stream.height) return
    this.stream = { ...this.stream, width, height }
    const state = this.store.getState()
    this.session = afterReset(this.session, state, state.caption)
    this.socket.restream(this.stream)
  }

  setLocale(locale: string): void {
    this.stream = { ...this.stream, locale }
    this.socket.setLocale(locale)
  }

  sendFrame(frame: Frame): void {
    this.socket.sendFrame(frame)
  }

  writable(): Promise<void> {
    return this.socket.writable()
  }

  finish(): Promise<void> {
    return this.socket.finish()
  }

  retryNow(): void {
    this.socket.retryNow()
  }

  close(): void {
    this.socket.close()
  }

  undo(): void {
    this.socket.send({ type: 'undo' })
    this.store.setState(({ signs }) => ({ signs: withLastUndone(signs, this.session) }))
  }

  clear(): void {
    this.socket.send({ type: 'reset' })
    this.session = afterReset(this.session, this.store.getState(), '')
    this.store.setState({ signs: [], caption: '', partial: [], delayMs: null })
  }

  /** Signs of earlier sessions are corrected on the page only: the server has forgotten their frames. */
  choose(signId: number, label: string, consent: boolean): void {
    const serverId = signId - this.session.idOffset
    if (serverId > 0) this.socket.send({ type: 'feedback', sign_id: serverId, label, consent })
    this.store.setState(({ signs }) => ({
      clipRefused: false,
      signs: signs.map((sign) => (sign.id === signId ? { ...sign, chosen: label } : sign)),
    }))
  }

  private receive(message: ServerMessage): void {
    if (message.type === 'ready') {
      const isAnother = this.sessionId !== null && message.session_id !== this.sessionId
      if (isAnother) this.session = nextSession(this.store.getState())
      this.sessionId = message.session_id
    }
    if (message.type === 'stats') this.serverDropped = message.frames_dropped
    this.store.setState((state) => changes(state, message, this.session))
    if (message.type === 'sign' && this.stream.pace === 'live') this.measureDelay(message.end_ms)
  }

  /** From the end of the sign to the screen refresh that shows its text. */
  private measureDelay(endMs: number): void {
    requestAnimationFrame(() => this.store.setState({ delayMs: Math.max(0, performance.now() - endMs) }))
  }

  private connectionChanged(state: ConnectionState, { retryInS, lost }: ConnectionDetail): void {
    this.store.setState({ connection: state, retryAfterS: retryInS })
    if (state === 'open') this.stages.set('server', 'ok')
    else if (state === 'busy') this.stages.fail('server', new EngineError('server_busy', 'the server is full'))
    else if (lost !== null) {
      const problem = lost.code === (CloseCode.NO_MODEL as number) ? 'no_model' : 'server_unreachable'
      this.stages.fail('server', new EngineError(problem, lost.reason || `closed with code ${lost.code}`))
    }
  }
}
