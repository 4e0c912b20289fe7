import { act, screen, waitFor, within } from '@testing-library/react'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { usePreferences } from '@/preferences/preferences'
import { RUNNING, sign } from '@/test/fakeController'
import { fakeServer, renderApp, SIGNS } from '@/test/renderApp'

beforeEach(() => {
  fakeServer({ 'GET /api/v1/signs': () => Response.json({ model_version: 'v1', signs: SIGNS }) })
})

const corrections = () => screen.getByRole('region', { name: /last sign/i })

describe('starting', () => {
  it('says what stays on the device where the camera is started', async () => {
    const { controller, user } = renderApp()
    expect(screen.getByText(/video stays on this device/i)).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Start the camera' }))
    expect(controller.calls).toContainEqual(['startCamera'])
  })

  it('shows each stage with its state in words', () => {
    const { set } = renderApp()
    set({
      source: 'camera',
      stages: { camera: { state: 'ok' }, models: { state: 'working' }, server: { state: 'pending' } },
    })
    const rows = screen.getAllByRole('listitem').map((row) => row.textContent)
    expect(rows).toEqual(['Cameraready', 'Body and hand detectionstarting…', 'SignFlow serverwaiting'])
  })

  it('says what to do when the camera is refused, and tries again on request', async () => {
    const { controller, set, user } = renderApp()
    set({
      source: 'camera',
      stages: {
        camera: { state: 'failed', problem: 'camera_refused', detail: 'NotAllowedError' },
        models: { state: 'ok' },
        server: { state: 'ok' },
      },
    })
    expect(screen.getByText(/allow the camera for this page/i)).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Try again' }))
    expect(controller.calls).toContainEqual(['retry'])
  })

  it('leads from an insecure address to the HTTPS command', async () => {
    const { set, user } = renderApp()
    set({
      stages: {
        camera: { state: 'failed', problem: 'insecure_origin' },
        models: { state: 'pending' },
        server: { state: 'pending' },
      },
    })
    const [inPanel] = screen.getAllByRole('button', { name: 'Use it from a phone' })
    await user.click(inPanel as HTMLElement)
    expect(within(screen.getByRole('dialog')).getByText('make run-https')).toBeVisible()
  })

  it('says what is wrong with a file that cannot be read, and offers another or the camera', async () => {
    const { controller, set, user } = renderApp()
    set({
      source: 'none',
      stages: {
        camera: { state: 'failed', problem: 'file_unreadable' },
        models: { state: 'pending' },
        server: { state: 'ok' },
      },
    })
    expect(screen.getByText('This file could not be read.')).toBeVisible()
    expect(screen.getByText('File')).toBeVisible()
    expect(screen.getByRole('button', { name: 'Open a video or clip' })).toBeVisible()
    await user.click(screen.getByRole('button', { name: 'Start the camera' }))
    expect(controller.calls).toContainEqual(['startCamera'])
  })
})

describe('captions', () => {
  it('announces final words only', () => {
    const { set } = renderApp(RUNNING)
    set({ signing: 'RECORDING', partial: [{ label: 'thank_you', confidence: 0.5 }], caption: 'hello' })
    const announced = screen.getByRole('status')
    expect(announced).toHaveTextContent(/^hello$/)
    expect(screen.getByText('thank you…')).toBeVisible()
    set({ signing: 'IDLE', partial: [], caption: 'hello thank you' })
    expect(announced).toHaveTextContent(/^hello thank you$/)
  })

  it('copies, undoes and clears; what was cleared stays in the history', async () => {
    const { controller, set, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')], caption: 'hello' })
    await user.click(screen.getByRole('button', { name: 'Copy' }))
    await expect(navigator.clipboard.readText()).resolves.toBe('hello')
    await user.click(screen.getByRole('button', { name: 'Undo' }))
    await user.click(screen.getByRole('button', { name: 'Clear' }))
    expect(controller.calls).toEqual(expect.arrayContaining([['undo'], ['clear']]))
    set({ signs: [], caption: '' })
    expect(screen.getByRole('button', { name: 'Copy “hello”' })).toBeVisible()
  })

  it('are saved as subtitles with their times', async () => {
    const saved: Blob[] = []
    vi.spyOn(URL, 'createObjectURL').mockImplementation((content) => {
      saved.push(content as Blob)
      return 'blob:signflow'
    })
    const click = vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(() => undefined)
    const { user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello'), sign(2, 'thank_you')] })
    await user.click(screen.getByRole('button', { name: 'Subtitles (.srt)' }))
    await expect(saved[0]?.text()).resolves.toContain('2\n00:00:02,000 --> 00:00:03,000\nthank you\n')
    expect(click.mock.instances[0]).toHaveProperty('download', 'signflow.srt')
  })

  it('are not undone when there is nothing to undo', async () => {
    const { controller, user } = renderApp(RUNNING)
    expect(screen.getByRole('button', { name: 'Undo' })).toBeDisabled()
    await user.keyboard('u')
    expect(controller.calls.map(([name]) => name)).not.toContain('undo')
  })
})

describe('putting a sign right', () => {
  it('shows five readings in the interface’s language and takes one press', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    const buttons = await within(corrections()).findAllByRole('button', { name: /^\d / })
    expect(buttons).toHaveLength(5)
    expect(buttons[0]).toHaveAttribute('aria-pressed', 'true')
    await user.click(within(corrections()).getByRole('button', { name: /thank you/ }))
    expect(controller.calls).toContainEqual(['choose', 1, 'thank_you', false])
  })

  it('takes the keys 1 to 5, of the last sign', async () => {
    const { controller, set, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.keyboard('2')
    set({ signs: [sign(1, 'hello'), sign(2, null)] })
    await user.keyboard('3')
    expect(controller.calls.filter(([name]) => name === 'choose')).toEqual([
      ['choose', 1, 'thank_you', false],
      ['choose', 2, 'goodbye', false],
    ])
  })

  it('offers the readings of a sign that it is not sure of, instead of guessing', () => {
    renderApp({ ...RUNNING, signs: [sign(1, null)] })
    expect(within(corrections()).getByText('Not sure. Is it one of these?')).toBeVisible()
    expect(within(corrections()).getByText('Or simply sign it again.')).toBeVisible()
    for (const button of within(corrections()).getAllByRole('button', { name: /^\d / })) {
      expect(button).toHaveAttribute('aria-pressed', 'false')
    }
    expect(screen.getByText('? not sure')).toBeVisible()
    expect(screen.getByRole('status')).toHaveTextContent(/^$/)
  })

  it('stores the clip only with consent, and remembers both the choice and the key to take it back', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.click(screen.getByRole('switch', { name: 'Share corrected signs' }))
    await user.keyboard('2')
    expect(controller.calls).toContainEqual(['choose', 1, 'thank_you', true])
    expect(localStorage.getItem('signflow.givenClips')).toContain('giver-token-1')
    expect(localStorage.getItem('signflow.preferences')).toContain('"consent":true')
    expect(screen.getByText('Its clip was sent. Thank you.')).toBeVisible()
    act(() => {
      controller.set({ clipRefused: true })
    })
    expect(screen.getByText('Its clip could not be kept; your correction stays here.')).toBeVisible()
  })

  it.each([
    ['en', 'Left and right hand are exchanged: each lies at the other arm.'],
    ['fr', /^Main gauche et main droite sont échangées\s: chacune se trouve à l’autre bras\.$/],
  ] as const)('says in the page’s language what the server finds wrong with a stream (%s)', (locale, sentence) => {
    usePreferences.getState().set({ locale })
    renderApp({ ...RUNNING, trouble: 'hands_exchanged' })
    expect(screen.getByText(sentence)).toBeVisible()
  })

  it('finds any other sign by typing', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.keyboard('a')
    const dialog = screen.getByRole('dialog')
    await within(dialog).findByRole('button', { name: 'mother' })
    await user.type(within(dialog).getByRole('searchbox'), 'moth{Enter}')
    expect(controller.calls).toContainEqual(['choose', 1, 'mother', false])
    expect(screen.queryByRole('dialog')).toBeNull()
  })

  it('shows the likeliest reading of a sign that it is not sure of, so that the figure is not taken for doubt', () => {
    const unsure = sign(1, null)
    renderApp({ ...RUNNING, signs: [unsure] })
    const [best] = unsure.alternatives
    expect(screen.getByRole('button', { name: /^Correct “Not sure”/ })).toHaveTextContent(
      new RegExp(`Not sure ${best?.label}\\? \\d+%`),
    )
  })

  it('does not deny what it has read from a file when the caption was cleared', async () => {
    const { set, user } = renderApp({ ...RUNNING, source: 'file', running: false, caption: '', signs: [] })
    expect(screen.getByText('No sign was recognised in this file.')).toBeVisible()
    set({ caption: 'hello', signs: [sign(1, 'hello')] })
    await user.click(screen.getByRole('button', { name: 'Clear' }))
    set({ caption: '', signs: [] })
    expect(screen.getByText(/kept under History/)).toBeVisible()
  })

  it('reaches earlier signs through the history, until the next sign comes', async () => {
    const { controller, set, user } = renderApp({ ...RUNNING, signs: [sign(1, 'goodbye'), sign(2, 'hello')] })
    await user.click(screen.getByRole('button', { name: /^Correct “goodbye”/ }))
    expect(screen.getByRole('heading', { name: 'Sign 1' })).toBeVisible()
    await user.keyboard('2')
    expect(controller.calls).toContainEqual(['choose', 1, 'hello', false])
    set({ signs: [sign(1, 'goodbye'), sign(2, 'hello'), sign(3, 'hello')] })
    expect(screen.getByRole('heading', { name: 'Last sign' })).toBeVisible()
  })
})

describe('keyboard', () => {
  it('starts and turns off the camera, and toggles the skeleton', async () => {
    const { controller, set, user } = renderApp()
    await user.keyboard('s')
    set(RUNNING)
    await user.keyboard('ks')
    expect(controller.calls).toEqual(expect.arrayContaining([['startCamera'], ['setSkeletonVisible', false], ['stop']]))
  })

  it('can be switched off, which is found by "?" even then', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.keyboard('?')
    await user.click(screen.getByRole('switch', { name: 'Single-key shortcuts' }))
    await user.click(screen.getByRole('button', { name: 'Close' }))
    await user.keyboard('2u')
    expect(controller.calls.map(([name]) => name)).not.toContain('choose')
    expect(controller.calls.map(([name]) => name)).not.toContain('undo')
    await user.keyboard('?')
    expect(screen.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible()
  })

  it('types into a search field without acting', async () => {
    const { controller, user } = renderApp({ ...RUNNING, signs: [sign(1, 'hello')] })
    await user.click(screen.getByRole('tab', { name: 'Signs it knows' }))
    await user.type(await screen.findByRole('searchbox'), 'us2')
    expect(controller.calls.map(([name]) => name)).not.toContain('choose')
    expect(controller.calls.map(([name]) => name)).not.toContain('stop')
  })
})

describe('what the device does', () => {
  it('is shown as measured, and never before', () => {
    const { set } = renderApp({ ...RUNNING, captureFps: null })
    expect(screen.getByText('Measuring…')).toBeVisible()
    set({ captureFps: 8.4, delayMs: 640, framesDropped: 3 })
    expect(screen.getByText('8 frames a second · text 0.6 s after a sign · 3 frames left out')).toBeVisible()
  })

  it('gives one hint, in words', () => {
    renderApp({ ...RUNNING, hints: ['low_light', 'hands_out'] })
    expect(screen.getByText(/it is dark/i)).toBeVisible()
    expect(screen.queryByText(/your hands leave/i)).toBeNull()
  })

  it('goes on showing the preview while the connection is away', () => {
    const { set } = renderApp(RUNNING)
    set({
      connection: 'reconnecting',
      stages: {
        camera: { state: 'ok' },
        models: { state: 'ok' },
        server: { state: 'failed', problem: 'server_unreachable' },
      },
    })
    expect(screen.getByText(/connection lost/i)).toBeVisible()
    expect(screen.getByText('Ready: sign when you like')).toBeVisible()
  })

  it('chooses among cameras', async () => {
    const { controller, user } = renderApp(RUNNING)
    await user.selectOptions(screen.getByRole('combobox', { name: 'Camera' }), 'USB camera')
    expect(controller.calls).toContainEqual(['startCamera', 'usb'])
  })

  it('turns the camera off when the page is left', () => {
    const { controller, unmount } = renderApp(RUNNING)
    unmount()
    expect(controller.calls).toContainEqual(['stop'])
  })
})

describe('files', () => {
  it('takes a chosen video or clip', async () => {
    const { controller, container, user } = renderApp()
    const file = new File(['x'], 'hello.npz')
    await user.upload(container.querySelector('input[type=file]') as HTMLInputElement, file)
    await waitFor(() => {
      expect(controller.calls).toContainEqual(['openFile', file])
    })
  })
})

describe('caption style', () => {
  it('changes the captions and is kept for the next visit', async () => {
    const { user } = renderApp({ ...RUNNING, caption: 'hello' })
    await user.click(screen.getByRole('button', { name: 'Style' }))
    await user.click(screen.getByRole('radio', { name: 'Yellow' }))
    expect(usePreferences.getState().captionColour).toBe('yellow')
    await user.click(screen.getByRole('radio', { name: 'Cream' }))
    expect(screen.getByText(/hard to read/)).toBeVisible()
    const kept = JSON.parse(localStorage.getItem('signflow.preferences') ?? '{}') as { state: object }
    expect(kept.state).toMatchObject({ captionColour: 'yellow', captionBackground: 'cream' })
  })
})
