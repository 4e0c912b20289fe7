import { screen, waitFor, within } from '@testing-library/react'
import axe from 'axe-core'
import { beforeEach, describe, expect, it } from 'vitest'
import { RUNNING, sign } from '@/test/fakeController'
import { fakeServer, renderApp, SIGNS } from '@/test/renderApp'
import { followTheme } from './theme'

beforeEach(() => {
  fakeServer({ 'GET /api/v1/signs': () => Response.json({ model_version: 'v1', signs: SIGNS }) })
})

describe('language', () => {
  it('switches the interface, the engine and the document', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.click(screen.getByRole('button', { name: 'Français' }))
    expect(screen.getByText('Dernier signe')).toBeVisible()
    await screen.findByRole('button', { name: /^1 bonjour/ })
    expect(document.documentElement.lang).toBe('fr')
    expect(controller.calls).toContainEqual(['setLocale', 'fr'])
    await user.click(screen.getByRole('button', { name: 'English' }))
    expect(screen.getByText('Last sign')).toBeVisible()
  })
})

describe('an address without a page', () => {
  it('says so and leads back', async () => {
    const { user } = renderApp({}, '/nowhere')
    expect(screen.getByRole('heading', { name: 'There is no page at this address.' })).toBeVisible()
    expect(screen.getByRole('link', { name: 'Skip to the content' })).toHaveAttribute('href', '#main')
    await user.click(screen.getByRole('link', { name: 'Back to translating' }))
    expect(screen.getByRole('link', { name: 'Skip to the captions' })).toHaveAttribute('href', '#captions')
  })
})

describe('appearance', () => {
  it('goes from the system’s to light to dark', async () => {
    followTheme()
    const { user } = renderApp()
    expect(document.documentElement.dataset['theme']).toBeUndefined()
    await user.click(screen.getByRole('button', { name: 'Appearance: As the system' }))
    expect(document.documentElement.dataset['theme']).toBe('light')
    await user.click(screen.getByRole('button', { name: 'Appearance: Light' }))
    expect(document.documentElement.dataset['theme']).toBe('dark')
  })
})

describe('the vocabulary', () => {
  it('lists words and letters, marks signs of one person, and finds without accents', async () => {
    const { user } = renderApp()
    await user.click(screen.getByRole('button', { name: 'Français' }))
    await user.click(screen.getByRole('tab', { name: 'Signes connus' }))
    const mother = (await screen.findByText('mère')).closest('li') as HTMLElement
    expect(within(mother).getByRole('img', { name: 'appris d’une seule personne' })).toBeVisible()
    expect(screen.getByRole('heading', { name: 'Lettres épelées' })).toBeVisible()
    await user.type(screen.getByRole('searchbox'), 'mere')
    expect(screen.getByText('mère')).toBeVisible()
    expect(screen.queryByText('bonjour')).toBeNull()
    await user.type(screen.getByRole('searchbox'), 'zzz')
    expect(screen.getByText(/Aucun signe ne correspond/)).toBeVisible()
  })
})

describe('accessibility', () => {
  const states = { start: {}, running: { ...RUNNING, signs: [sign(1, 'hello'), sign(2, null)], caption: 'hello' } }
  it.each(Object.entries(states))('has no violation: %s', async (_name, state) => {
    const { container } = renderApp(state)
    await waitFor(() => {
      expect(screen.getByRole('main')).toBeVisible()
    })
    // jsdom has no layout, so contrast is checked in a browser instead.
    const { violations } = await axe.run(container, { rules: { 'color-contrast': { enabled: false } } })
    expect(violations.map((violation) => `${violation.id}: ${violation.nodes[0]?.html}`)).toEqual([])
  })
})

it('says so when there is no such page', () => {
  renderApp({}, '/nowhere')
  expect(screen.getByText('There is no page at this address.')).toBeVisible()
})
