/** A WebSocket that a test holds both ends of. */
import type { ClientMessage, ServerMessage } from '@/api/generated/wsMessages'
import type { WebSocketLike } from '@/api/SignFlowSocket'

type Sent = string | ArrayBufferLike | Blob | ArrayBufferView

export class FakeWebSocket implements WebSocketLike {
  binaryType: BinaryType = 'blob'
  bufferedAmount = 0
  readyState = 0
  onopen: ((event: Event) => void) | null = null
  onmessage: ((event: MessageEvent) => void) | null = null
  onclose: ((event: CloseEvent) => void) | null = null
  closedWith: number | undefined | null = null
  readonly sent: Sent[] = []

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {}

  send(data: Sent): void {
    if (this.readyState !== 1) throw new Error('sent on a socket that is not open')
    this.sent.push(data)
  }

  close(code?: number): void {
    this.readyState = 3
    this.closedWith = code
  }

  /** The connection stands. */
  accept(): void {
    this.readyState = 1
    this.onopen?.(new Event('open'))
  }

  answer(message: ServerMessage): void {
    this.onmessage?.(new MessageEvent('message', { data: JSON.stringify(message) }))
  }

  ready(fields: { session_id?: string; resumed?: boolean; last_sequence?: number } = {}): void {
    this.answer({
      type: 'ready',
      session_id: 'one',
      resume_token: 'token',
      resumed: false,
      last_sequence: -1,
      model_version: 'v1',
      vocabulary_size: 50,
      limits: { max_message_bytes: 65536, idle_timeout_s: 60, backlog_frames: 256, resume_s: 120, history_signs: 200 },
      ...fields,
    })
  }

  sign(id: number, label: string | null = 'hello', { is_repeat = false } = {}): void {
    this.answer({
      type: 'sign',
      id,
      label,
      confidence: 0.9,
      alternatives: [{ label: 'hello', confidence: 0.9 }],
      start_ms: id * 1000,
      end_ms: id * 1000 + 500,
      model_version: 'v1',
      latency_ms: 3,
      is_repeat,
    })
  }

  /** The connection breaks. */
  lose(code = 1006): void {
    this.readyState = 3
    this.onclose?.(Object.assign(new Event('close'), { code, reason: '', wasClean: false }))
  }

  get messages(): ClientMessage[] {
    return this.sent.filter((data) => typeof data === 'string').map((data) => JSON.parse(data) as ClientMessage)
  }

  /** Sequence numbers of the frames that were sent. */
  get sequences(): number[] {
    return this.sent.filter((data) => data instanceof ArrayBuffer).map((data) => new DataView(data).getUint32(4, true))
  }
}

/** Gives out fake sockets and keeps them. */
export class FakeNetwork {
  readonly sockets: FakeWebSocket[] = []

  readonly create = (url: string, protocol: string): FakeWebSocket => {
    const socket = new FakeWebSocket(url, protocol)
    this.sockets.push(socket)
    return socket
  }

  get latest(): FakeWebSocket {
    const socket = this.sockets.at(-1)
    if (socket === undefined) throw new Error('nobody has connected')
    return socket
  }
}
