/** The store's first state, and how server messages change it: pure, so that a test can step it by hand. */
import type { ErrorCode, ServerMessage, SignMessage } from '@/api/generated/wsMessages'
import type { Sign, StreamTrouble, TranslateState } from '../model'

export const INITIAL_STATE: TranslateState = {
  stages: { camera: { state: 'pending' }, models: { state: 'pending' }, server: { state: 'pending' } },
  source: 'none',
  numSources: 0,
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

/** What each error means to a person: trouble with the stream, a clip that could not be kept, or nothing that is not shown elsewhere. */
const MEANINGS: Readonly<Record<ErrorCode, StreamTrouble | 'clip_refused' | null>> = {
  implausible_times: 'implausible_times',
  hands_exchanged: 'hands_exchanged',
  hand_given_twice: 'hand_given_twice',
  bad_values: 'bad_values',
  inference_failed: 'inference_failed',
  inference_overloaded: 'inference_overloaded',
  bad_magic: 'refused',
  bad_version: 'refused',
  bad_flags: 'refused',
  bad_size: 'refused',
  bad_points: 'refused',
  bad_dtype: 'refused',
  bad_time: 'refused',
  bad_json: 'refused',
  bad_message: 'refused',
  unknown_type: 'refused',
  unknown_sign: 'clip_refused',
  unknown_label: 'clip_refused',
  feedback_full: 'clip_refused',
  feedback_failed: 'clip_refused',
  // A camera that repeats a frame: the frame is dropped and nothing is lost.
  time_not_increasing: null,
  // The connection ends with a code that says the same.
  no_model: null,
}
/** What could not be answered stays until something is; what is said of the stream as a whole, until another source is chosen. */
const UNANSWERED: ReadonlySet<StreamTrouble | null> = new Set<StreamTrouble>([
  'inference_failed',
  'inference_overloaded',
])

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

function toSign(message: SignMessage, { idOffset }: Session, { source, numSources }: TranslateState): Sign {
  return {
    id: message.id + idOffset,
    label: message.label,
    confidence: message.confidence,
    alternatives: message.alternatives,
    startMs: message.start_ms,
    endMs: message.end_ms,
    latencyMs: message.latency_ms,
    modelVersion: message.model_version,
    source: numSources,
    isFromFile: source === 'file',
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
        signs: [...state.signs, toSign(message, session, state)].slice(-MAX_SIGNS),
        partial: [],
        trouble: UNANSWERED.has(state.trouble) ? null : state.trouble,
      }
    case 'caption':
      return { caption: [session.captionBefore, message.text].filter((text) => text !== '').join(' ') }
    case 'error': {
      const meaning = MEANINGS[message.code]
      if (meaning === 'clip_refused') return { clipRefused: true }
      return meaning === null ? {} : { trouble: meaning }
    }
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
