/** The JSON messages of protocol `signflow.v1`. Times are milliseconds on the client's capture clock. */

export interface Hello {
  type: 'hello'
  width: number
  height: number
  mirrored: boolean
  client: string
  pace?: 'live' | 'replay'
  locale?: string
  resume_token?: string
  last_sign_id?: number
}

export type ClientMessage =
  | Hello
  | { type: 'reset' }
  | { type: 'undo' }
  | { type: 'feedback'; sign_id: number; label: string; consent: boolean }
  | { type: 'end' }
  | { type: 'ping' }

export interface WireAlternative {
  label: string
  confidence: number
}

export interface Limits {
  max_message_bytes: number
  idle_timeout_s: number
  backlog_frames: number
  resume_s: number
  history_signs: number
}

export interface Ready {
  type: 'ready'
  session_id: string
  resume_token: string
  resumed: boolean
  last_sequence: number
  model_version: string
  vocabulary_size: number
  limits: Limits
}

export interface SignMessage {
  type: 'sign'
  id: number
  label: string | null
  confidence: number
  alternatives: WireAlternative[]
  start_ms: number
  end_ms: number
  model_version: string
  latency_ms: number
}

export type ServerMessage =
  | Ready
  | { type: 'state'; state: 'IDLE' | 'RECORDING' | 'INFERRING'; at_ms: number }
  | { type: 'partial'; alternatives: WireAlternative[]; at_ms: number }
  | SignMessage
  | { type: 'caption'; text: string }
  | {
      type: 'stats'
      last_sequence: number
      frames_handled: number
      frames_dropped: number
      fps: number
      latency_p50_ms: number
      latency_p95_ms: number
    }
  | { type: 'busy'; retry_after_s: number }
  | { type: 'error'; code: string; message: string }
  | { type: 'ended'; last_sequence: number }
  | { type: 'pong' }
