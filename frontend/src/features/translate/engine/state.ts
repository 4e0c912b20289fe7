/** The store's first state, and how server messages change it: pure, so that a test can step it by hand. */
import type { ErrorCode, ServerMessage, SignMessage } from '@/api/generated/wsMessages'
import type { Sign, StreamTrouble, TranslateState } from '../model'

export const INITIAL_STATE: TranslateState = {
  stages: { camera: { state: 'pending' }, models: { state: 'pending' }, server: { state: 'pending' } },
  source: 'none',
  running: false,
  cameras: [],
  cameraId: null,
  signing: 'IDLE',
  hints: [],
  partial: [],
  signs: [],
  caption: '',
  captureFps: null,
  delayMs: null,
  framesDropped: 0,
  connection: 'closed',
  retryAfterS: null,
  modelVersion: null,
  vocabularySize: null,
  giverToken: null,
  clipRefused: false,
  fileProgress: null,
  trouble: null,
}

const REFUSED_CLIP: ReadonlySet<ErrorCode> = new Set([
  'unknown_sign',
  'unknown_label',
  'feedback_full',
  'feedback_failed',
])

/** What the server says of the stream as a whole stays until another source is chosen; what it could not answer, until it answers. */
const TROUBLE: ReadonlySet<ErrorCode> = new Set<StreamTrouble>([
  'implausible_times',
  'hands_exchanged',
  'hand_given_twice',
  'bad_values',
  'inference_failed',
  'inference_overloaded',
])
const UNANSWERED: ReadonlySet<ErrorCode | null> = new Set<ErrorCode>(['inference_failed', 'inference_overloaded'])

function isTrouble(code: ErrorCode): code is StreamTrouble {
  return TROUBLE.has(code)
}

/** More signs than anybody scrolls back to; the oldest go. */
const MAX_SIGNS = 500

/**
 * Signs and captions of one server session, as part of a page that may go through several: the server counts signs from 1 in each
 * session and only knows that session's caption.
 */
export interface Session {
  /** Add to a server's sign id to get the page's. */
  idOffset: number
  /** What was on the page before the server's caption began. */
  captionBefore: string
  /** The last sign that the server's caption does not hold: undo ends there. */
  lastSignBefore: number
}

export const FIRST_SESSION: Session = { idOffset: 0, captionBefore: '', lastSignBefore: 0 }

/** The session that follows: what is on the page stays. */
export function nextSession({ signs, caption }: TranslateState): Session {
  const lastId = signs.at(-1)?.id ?? 0
  return { idOffset: lastId, captionBefore: caption, lastSignBefore: lastId }
}

/** The same session after a reset, in which the server forgets its caption but goes on counting; `caption` is what stays of it. */
export function afterReset(session: Session, { signs }: TranslateState, caption: string): Session {
  return { ...session, captionBefore: caption, lastSignBefore: signs.at(-1)?.id ?? session.lastSignBefore }
}

function toSign(message: SignMessage, { idOffset }: Session): Sign {
  return {
    id: message.id + idOffset,
    label: message.label,
    confidence: message.confidence,
    alternatives: message.alternatives,
    startMs: message.start_ms,
    endMs: message.end_ms,
    latencyMs: message.latency_ms,
    modelVersion: message.model_version,
    ...(message.is_repeat ? { isRepeat: true } : {}),
  }
}

/** What a server message changes; an empty object when it changes nothing on the page. */
export function changes(state: TranslateState, message: ServerMessage, session: Session): Partial<TranslateState> {
  switch (message.type) {
    case 'ready':
      return {
        modelVersion: message.model_version,
        vocabularySize: message.vocabulary_size,
        giverToken: message.resume_token,
      }
    case 'state':
      return message.state === 'IDLE' ? { signing: 'IDLE', partial: [] } : { signing: message.state }
    case 'partial':
      return { partial: message.alternatives }
    case 'sign':
      return {
        signs: [...state.signs, toSign(message, session)].slice(-MAX_SIGNS),
        partial: [],
        trouble: UNANSWERED.has(state.trouble) ? null : state.trouble,
      }
    case 'caption':
      return { caption: [session.captionBefore, message.text].filter((text) => text !== '').join(' ') }
    case 'error':
      if (isTrouble(message.code)) return { trouble: message.code }
      return REFUSED_CLIP.has(message.code) ? { clipRefused: true } : {}
    default:
      return {}
  }
}

/** Marks the sign that the server takes back: the session's last one that shows, with the second half of a cut one. */
export function withLastUndone(signs: Sign[], { lastSignBefore }: Session): Sign[] {
  const counts = (sign: Sign) => sign.id > lastSignBefore && !sign.undone && (sign.chosen ?? sign.label) !== null
  const shows = (sign: Sign) => counts(sign) && (sign.chosen !== undefined || !sign.isRepeat)
  const index = signs.findLastIndex(shows)
  return signs.map((sign, position) =>
    index >= 0 && position >= index && counts(sign) ? { ...sign, undone: true } : sign,
  )
}
