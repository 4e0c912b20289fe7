import { useCallback, useEffect, useRef, useState } from 'react'
import { useGiverTokens } from '@/preferences/giverTokens'
import { usePreferences } from '@/preferences/preferences'
import { CaptionBar } from './CaptionBar'
import { Captions } from './Captions'
import { ConnectionNotice } from './ConnectionNotice'
import { useController, useTranslate } from './ControllerContext'
import { Corrections } from './Corrections'
import { FileDrop } from './FileDrop'
import { History } from './History'
import { PanelTabs, type Panel } from './PanelTabs'
import { PhoneDialog } from './PhoneDialog'
import { KEYS, ShortcutsDialog } from './ShortcutsDialog'
import { SignPicker } from './SignPicker'
import { useCaptionActions } from './useCaptionActions'
import { useShortcuts } from './useShortcuts'
import { useWakeLock } from './useWakeLock'
import { VideoCard } from './VideoCard'
import { TrustLine, VideoControls } from './VideoControls'
import { useI18n } from '@/i18n/I18n'

export type TranslateDialog = 'shortcuts' | 'phone' | 'picker' | null

interface TranslateViewProps {
  dialog: TranslateDialog
  setDialog: (dialog: TranslateDialog) => void
  /** Shown beside the history, below the live part. */
  panels: Panel[]
}

/** The live view: preview on one side, captions on the other; below each other on a phone. */
export function TranslateView({ dialog, setDialog, panels }: TranslateViewProps) {
  const { t } = useI18n()
  const controller = useController()
  const actions = useCaptionActions()
  const fileInput = useRef<HTMLInputElement>(null)
  const source = useTranslate((state) => state.source)
  useWakeLock(useTranslate((state) => state.running && state.source === 'camera'))
  const signs = useTranslate((state) => state.signs)
  const { consent, singleKeys, skeleton, set } = usePreferences()
  const [selection, setSelection] = useState<{ id: number; whenLast: number | undefined } | null>(null)

  const [sentIds, setSentIds] = useState<ReadonlySet<number>>(new Set())

  const last = signs.at(-1)
  // A new sign takes the place of the one that was looked at: it is what the person has just signed.
  const selectedId = selection?.whenLast === last?.id ? selection?.id : undefined
  const selected = signs.find((sign) => sign.id === selectedId) ?? last

  // Leaving the page turns the camera off: it must never run unseen.
  useEffect(
    () => () => {
      controller.stop()
    },
    [controller],
  )

  const openFile = useCallback((file: File) => void controller.openFile(file), [controller])
  const browse = () => fileInput.current?.click()
  const close = () => {
    setDialog(null)
  }
  const choose = (label: string | undefined) => {
    if (!selected || label === undefined) return
    controller.choose(selected.id, label, consent)
    if (!consent) return
    const { giverToken } = controller.store.getState()
    if (giverToken) useGiverTokens.getState().remember(giverToken)
    setSentIds((ids) => new Set(ids).add(selected.id))
  }
  const chooseNth = (n: number) => () => {
    choose(selected?.alternatives[n - 1]?.label)
  }

  useShortcuts(
    {
      ...Object.fromEntries([1, 2, 3, 4, 5].map((n) => [String(n), chooseNth(n)])),
      [KEYS.startStop]: () => {
        if (source === 'none') void controller.startCamera()
        else controller.stop()
      },
      [KEYS.undo]: actions.undo,
      [KEYS.clear]: actions.clear,
      [KEYS.copy]: () => void actions.copy(),
      [KEYS.speak]: actions.speak,
      [KEYS.skeleton]: () => {
        set({ skeleton: !skeleton })
      },
      [KEYS.open]: browse,
      [KEYS.another]: selected && (() => setDialog('picker')),
      [KEYS.help]: () => {
        setDialog('shortcuts')
      },
    },
    singleKeys,
  )

  const history = (
    <History
      actions={actions}
      onCorrect={(id) => {
        setSelection({ id, whenLast: last?.id })
        document.getElementById('corrections')?.scrollIntoView({ block: 'center' })
      }}
    />
  )
  return (
    <>
      <div className="flex flex-col gap-3 sm:gap-5 lg:grid lg:min-h-[min(38rem,calc(100dvh-11rem))] lg:grid-cols-[minmax(0,6fr)_minmax(0,7fr)]">
        <div className="flex flex-col gap-3 max-lg:contents">
          <VideoCard
            onOpenFile={browse}
            onPhoneHelp={() => {
              setDialog('phone')
            }}
          />
          <VideoControls />
          <TrustLine />
        </div>
        <div className="flex flex-col gap-3 sm:gap-5">
          <div className="flex flex-1 flex-col rounded-2xl bg-surface p-2 shadow-card">
            <ConnectionNotice />
            <Captions wasCleared={actions.cleared.length > 0} />
            <CaptionBar actions={actions} />
          </div>
          <Corrections
            sign={selected}
            isLast={selected === last}
            clipSent={selected !== undefined && sentIds.has(selected.id)}
            choose={choose}
            onAnother={() => {
              setDialog('picker')
            }}
            onBackToLast={() => {
              setSelection(null)
            }}
          />
        </div>
      </div>
      <PanelTabs panels={[{ id: 'history', title: t.history.title, content: history }, ...panels]} />

      <input
        ref={fileInput}
        type="file"
        accept="video/*,.npz"
        hidden
        onChange={(event) => {
          const file = event.target.files?.[0]
          if (file) openFile(file)
          event.target.value = ''
        }}
      />
      <FileDrop onFile={openFile} />
      <SignPicker
        open={dialog === 'picker'}
        onClose={close}
        onPick={(label) => {
          close()
          choose(label)
        }}
      />
      <PhoneDialog open={dialog === 'phone'} onClose={close} />
      <ShortcutsDialog open={dialog === 'shortcuts'} onClose={close} />
    </>
  )
}
