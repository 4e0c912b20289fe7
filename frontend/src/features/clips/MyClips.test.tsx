import { screen, waitFor } from '@testing-library/react'
import { expect, it } from 'vitest'
import { useGiverTokens } from '@/preferences/giverTokens'
import { fakeServer, renderApp, SIGNS } from '@/test/renderApp'

const clip = (id: string, label: string) => ({
  id,
  sign_id: 1,
  status: 'quarantined',
  label,
  predicted_label: 'hello',
  confidence: 0.5,
  model_version: 'v1',
  num_frames: 20,
  duration_ms: 900,
  consented_at: '2025-05-01T10:00:00Z',
  created_at: '2025-05-01T10:00:00Z',
})

function serve(given: Record<string, ReturnType<typeof clip>[]>) {
  const deleted: string[] = []
  const left = (request: Request) =>
    (given[request.headers.get('X-Giver-Token') ?? ''] ?? []).filter(({ id }) => !deleted.includes(id))
  fakeServer({
    'GET /api/v1/signs': () => Response.json({ model_version: 'v1', signs: SIGNS }),
    'GET /api/v1/feedback': (request) => Response.json({ total: 1, clips: left(request) }),
    'DELETE /api/v1/feedback/one': () => {
      deleted.push('one')
      return Response.json({ deleted: 1 })
    },
  })
  return deleted
}

it('shows what this browser gave in every session, and deletes it', async () => {
  useGiverTokens.setState({ tokens: ['today', 'last-week'] })
  const deleted = serve({ today: [clip('one', 'mother')], 'last-week': [clip('two', 'goodbye')] })
  const { user } = renderApp()
  await user.click(screen.getByRole('tab', { name: 'My clips' }))
  await user.click(await screen.findByRole('button', { name: 'Delete the clip “mother”' }))
  await waitFor(() => {
    expect(screen.queryByText('mother')).toBeNull()
  })
  expect(screen.getByText('goodbye')).toBeVisible()
  expect(deleted).toEqual(['one'])
})

it('says how clips come to be there when there is none', async () => {
  useGiverTokens.setState({ tokens: [] })
  serve({})
  const { user } = renderApp()
  await user.click(screen.getByRole('tab', { name: 'My clips' }))
  expect(screen.getByText('You have shared nothing.')).toBeVisible()
})

it('deletes everything only when asked twice', async () => {
  useGiverTokens.setState({ tokens: ['today'] })
  const deleted = serve({ today: [clip('one', 'mother')] })
  const { user } = renderApp()
  await user.click(screen.getByRole('tab', { name: 'My clips' }))
  await user.click(await screen.findByRole('button', { name: 'Delete all' }))
  expect(deleted).toEqual([])
  await user.click(screen.getByRole('button', { name: 'Really delete it?' }))
  expect(await screen.findByText('You have shared nothing.')).toBeVisible()
  expect(deleted).toEqual(['one'])
})
