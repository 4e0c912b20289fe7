import type { Stage, StageName, TranslateState } from './model'

export const STAGE_NAMES: readonly StageName[] = ['camera', 'models', 'server']

/** Whether a file is played, or was refused a moment ago. Its own trouble is told in the camera's place. */
export function isAboutFile(state: TranslateState): boolean {
  return state.source === 'file' || (state.stages.camera.problem?.startsWith('file_') ?? false)
}

/** The stages that the present source needs: a file passes only those that it has begun; a landmark clip needs no detection. */
export function neededStages(state: TranslateState): StageName[] {
  if (!isAboutFile(state)) return [...STAGE_NAMES]
  return STAGE_NAMES.filter((name) => name === 'server' || state.stages[name].state !== 'pending')
}

export function failedStage(state: TranslateState): Stage | undefined {
  return STAGE_NAMES.map((name) => state.stages[name]).find((stage) => stage.state === 'failed')
}

/** Whether a start has been asked for that has not yet succeeded. */
export function isStarting(state: TranslateState): boolean {
  return STAGE_NAMES.some((name) => ['working', 'failed'].includes(state.stages[name].state))
}

/** Whether the start panel must be shown instead of the preview. A lost connection alone leaves the preview in place, once there was one. */
export function needsAttention(state: TranslateState): boolean {
  if (state.source === 'none') return true
  const hadServer = state.modelVersion !== null
  const lostOnly = state.connection === 'busy' || (state.connection === 'reconnecting' && hadServer)
  return neededStages(state).some((name) => state.stages[name].state !== 'ok' && !(name === 'server' && lostOnly))
}
