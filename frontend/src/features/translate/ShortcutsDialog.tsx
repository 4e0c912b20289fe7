import { Dialog } from '@/components/ui/Dialog'
import { Kbd } from '@/components/ui/Kbd'
import { Switch } from '@/components/ui/Switch'
import { useI18n } from '@/i18n/I18n'
import { usePreferences } from '@/preferences/preferences'

/** The keys of the translate page; `TranslateView` binds them to what they do. */
export const KEYS = {
  startStop: 's',
  undo: 'u',
  clear: 'x',
  copy: 'c',
  speak: 'v',
  skeleton: 'k',
  open: 'o',
  another: 'a',
  help: '?',
} as const

export function ShortcutsDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n()
  const singleKeys = usePreferences((state) => state.singleKeys)
  const setPreferences = usePreferences((state) => state.set)
  const names = Object.keys(KEYS) as (keyof typeof KEYS)[]
  return (
    <Dialog open={open} title={t.shortcuts.title} onClose={onClose}>
      <dl className="mb-6 grid grid-cols-[auto_1fr] items-center gap-x-4 gap-y-2.5">
        <Row keys={['1', '2', '3', '4', '5']} text={t.shortcuts.choose} />
        {names.map((name) => (
          <Row key={name} keys={[KEYS[name].toUpperCase()]} text={t.shortcuts[name]} />
        ))}
      </dl>
      <Switch
        checked={singleKeys}
        onChange={(checked) => {
          setPreferences({ singleKeys: checked })
        }}
        label={t.shortcuts.enabled}
        description={t.shortcuts.enabledMore}
      />
    </Dialog>
  )
}

function Row({ keys, text }: { keys: string[]; text: string }) {
  return (
    <>
      <dt className="flex gap-1">
        {keys.map((key) => (
          <Kbd key={key}>{key}</Kbd>
        ))}
      </dt>
      <dd>{text}</dd>
    </>
  )
}
