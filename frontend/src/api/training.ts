/** Training, as the server's HTTP interface has it. Operators only. */
import type { components } from './generated/openapi'
import { client, credentials, require, toHttpError } from './http'

export type TrainingOptions = components['schemas']['TrainingOptions']
export type DataSet = components['schemas']['DataSetInfo']
export type DataSetList = components['schemas']['DataSetList']
export type TrainingRequest = components['schemas']['TrainingRequest']
export type TrainingSession = components['schemas']['TrainingSessionInfo']
export type TrainingStatus = TrainingSession['status']
export type TrainingResult = components['schemas']['TrainingResult']
export type TrainingUpdate = components['schemas']['TrainingUpdate']
export type CurvePoint = components['schemas']['CurvePointInfo']

function headers(operatorToken: string) {
  return credentials({ operatorToken })
}

export async function fetchTrainingOptions(token: string): Promise<TrainingOptions> {
  return require(await client.GET('/api/v1/training/options', { headers: headers(token) }))
}

export async function fetchDataSets(token: string): Promise<DataSetList> {
  return require(await client.GET('/api/v1/training/datasets', { headers: headers(token) }))
}

/** All sessions, newest first. */
export async function fetchTrainingSessions(token: string): Promise<TrainingSession[]> {
  return require(await client.GET('/api/v1/training/sessions', { headers: headers(token) })).sessions
}

export async function startTraining(request: TrainingRequest, token: string): Promise<TrainingSession> {
  return require(await client.POST('/api/v1/training/sessions', { body: request, headers: headers(token) }))
}

export async function cancelTraining(sessionId: string, token: string): Promise<TrainingSession> {
  const params = { path: { session_id: sessionId } }
  return require(
    await client.POST('/api/v1/training/sessions/{session_id}/cancel', { params, headers: headers(token) }),
  )
}

export async function resumeTraining(sessionId: string, token: string): Promise<TrainingSession> {
  const params = { path: { session_id: sessionId } }
  return require(
    await client.POST('/api/v1/training/sessions/{session_id}/resume', { params, headers: headers(token) }),
  )
}

/** Deletes a session; that it is already gone is no error. */
export async function deleteTraining(sessionId: string, token: string): Promise<void> {
  const params = { path: { session_id: sessionId } }
  const answer = await client.DELETE('/api/v1/training/sessions/{session_id}', { params, headers: headers(token) })
  if (!answer.response.ok && answer.response.status !== 404) require(answer)
}

/** A model file of a finished session. */
export async function fetchModelFile(sessionId: string, name: string, token: string): Promise<Blob> {
  const answer = await client.GET('/api/v1/training/sessions/{session_id}/files/{name}', {
    params: { path: { session_id: sessionId, name } },
    headers: headers(token),
    parseAs: 'blob',
  })
  if (!answer.response.ok) throw toHttpError(answer.response, answer.error)
  return answer.data as unknown as Blob
}
