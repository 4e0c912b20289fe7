/** The server's HTTP interface, as far as the page uses it. Types come from the server's OpenAPI document. */
import createClient from 'openapi-fetch'
import type { components, paths } from './generated/openapi'

export type SignInfo = components['schemas']['SignInfo']
export type SignList = components['schemas']['SignList']
export type ModelInfo = components['schemas']['ModelInfo']
export type RemoteHealth = components['schemas']['RemoteHealth']
export type Readiness = components['schemas']['Readiness']
export type ServerStatus = components['schemas']['ServerStatus']
export type FeedbackClip = components['schemas']['FeedbackClipInfo']

/** Who asks for clips: the operator, or the person who gave them. */
export type Asker = { operatorToken: string } | { giverToken: string }

export class HttpError extends Error {
  override name = 'HttpError'

  constructor(
    readonly status: number,
    /** What kind of error it is, as backend/app/api/errors.py names it; empty when the answer is not SignFlow's. */
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** Whether the server did not accept the asker's token. */
export function isRefused(error: Error | null): boolean {
  return error instanceof HttpError && error.status === 401
}

export const client = createClient<paths>({
  baseUrl: window.location.origin,
  // Looked up at each call, so that a test can put its own in place.
  fetch: (request) => globalThis.fetch(request),
})

export interface Answer<T> {
  data?: T | undefined
  error?: unknown
  response: Response
}

/** The error of an answer, whose body is SignFlow's `ErrorBody` or, from something between, anything. */
export function toHttpError(response: Response, body: unknown): HttpError {
  const said = (key: string): string => {
    const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, key) : undefined
    return typeof value === 'string' ? value : ''
  }
  return new HttpError(response.status, said('code'), said('message') || `the server answered ${response.status}`)
}

export function require<T>({ data, error, response }: Answer<T>): T {
  if (data !== undefined) return data
  throw toHttpError(response, error)
}

export function credentials(asker: Asker): Record<string, string> {
  return 'operatorToken' in asker
    ? { Authorization: `Bearer ${asker.operatorToken}` }
    : { 'X-Giver-Token': asker.giverToken }
}

/** The signs that the active model recognises; an empty list without a model. */
export async function fetchSigns(): Promise<SignList> {
  return require(await client.GET('/api/v1/signs', { params: { query: { recognised: true } } }))
}

/** Whether signs can be translated now; "not ready" is an answer, not an error. */
export async function fetchReadiness(): Promise<Readiness> {
  const answer = await client.GET('/ready')
  const notReady = answer.error
  if (notReady && 'reasons' in notReady) return notReady
  return require(answer)
}

/** The active model, or null when there is none. */
export async function fetchActiveModel(): Promise<ModelInfo | null> {
  const answer = await client.GET('/api/v1/models/active')
  return answer.response.status === 503 ? null : require(answer)
}

export async function fetchServerVersion(): Promise<string> {
  return require(await client.GET('/health')).version
}

export async function fetchStatus(operatorToken: string): Promise<ServerStatus> {
  return require(await client.GET('/api/v1/status', { headers: credentials({ operatorToken }) }))
}

/** The newest 500 clips that the asker may see, and how many there are in all. */
export async function fetchClips(asker: Asker): Promise<{ total: number; clips: FeedbackClip[] }> {
  const params = { query: { limit: 500 } }
  return require(await client.GET('/api/v1/feedback', { params, headers: credentials(asker) }))
}

/** Deletes a clip for good; that it is already gone is no error. */
export async function deleteClip(clipId: string, asker: Asker): Promise<void> {
  const params = { path: { clip_id: clipId } }
  const answer = await client.DELETE('/api/v1/feedback/{clip_id}', { params, headers: credentials(asker) })
  if (answer.response.status !== 404) require(answer)
}
