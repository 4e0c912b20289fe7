import { ALargeSmall } from 'lucide-react'
import { Popover, RadioGroup } from 'radix-ui'
import { useId } from 'react'
import { Button } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { BACKGROUNDS, CAPTION_SIZES_REM, STANDARD, TEXT_COLOURS, usePreferences } from '@/preferences/preferences'
import { BACKGROUND_HEX, captionColours, isHardToRead, TEXT_HEX } from './captionStyle'

/** Size, colours and background of the captions, with a sample; kept on this device. */
export function CaptionSettings() {
  const { t } = useI18n()
  const sizeId = useId()
  const { captionSizeRem, captionColour, captionBackground, set } = usePreferences()
  return (
    <Popover.Root>
      <Popover.Trigger asChild>
        <Button variant="quiet" title={t.captionSettings.title} className="px-3">
          <ALargeSmall aria-hidden size={24} />
          <span className="max-sm:sr-only">{t.captions.settings}</span>
        </Button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          aria-label={t.captionSettings.title}
          sideOffset={8}
          collisionPadding={12}
          align="end"
          className="z-20 max-h-(--radix-popover-content-available-height) w-[min(25rem,calc(100vw-1.5rem))] overflow-y-auto rounded-2xl border border-line bg-surface p-4 text-ink shadow-card"
        >
          <p
            className="mb-3 flex h-20 items-center overflow-hidden rounded-xl bg-sunken px-4 leading-none font-medium whitespace-nowrap"
            style={{ ...captionColours(captionColour, captionBackground), fontSize: `${captionSizeRem}rem` }}
          >
            {t.captionSettings.sample}
          </p>
          <div className="mb-2 flex items-center gap-4">
            <label htmlFor={sizeId} className="w-24 shrink-0 font-medium">
              {t.captionSettings.size}
            </label>
            <input
              id={sizeId}
              type="range"
              min={CAPTION_SIZES_REM.min}
              max={CAPTION_SIZES_REM.max}
              step={CAPTION_SIZES_REM.step}
              value={captionSizeRem}
              onChange={(event) => {
                set({ captionSizeRem: Number(event.target.value) })
              }}
              className="h-10 min-w-0 flex-1"
            />
          </div>
          <Swatches
            title={t.captionSettings.colour}
            options={TEXT_COLOURS.map((name) => [name, name === 'auto' ? null : TEXT_HEX[name]])}
            value={captionColour}
            onChange={(name) => {
              set({ captionColour: name })
            }}
          />
          <Swatches
            title={t.captionSettings.background}
            options={BACKGROUNDS.map((name) => [name, name === 'auto' ? null : BACKGROUND_HEX[name]])}
            value={captionBackground}
            onChange={(name) => {
              set({ captionBackground: name })
            }}
          />
          {isHardToRead(captionColour, captionBackground) && (
            <p className="mb-3 rounded-lg bg-warn-soft px-3 py-2 text-sm text-warn">{t.captionSettings.lowContrast}</p>
          )}
          <div className="flex items-center justify-between gap-3">
            <p className="text-sm text-muted">{t.captionSettings.kept}</p>
            <Button
              onClick={() => {
                const { captionSizeRem: size, captionColour: colour, captionBackground: background } = STANDARD
                set({ captionSizeRem: size, captionColour: colour, captionBackground: background })
              }}
            >
              {t.captionSettings.reset}
            </Button>
          </div>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}

interface SwatchesProps<T extends string> {
  title: string
  options: [T, string | null][]
  value: T
  onChange: (value: T) => void
}

/** A row of colours as radio buttons; each has its name, and the chosen one a ring, so no colour is told by colour alone. */
function Swatches<T extends keyof ReturnType<typeof useI18n>['t']['captionSettings']['colours']>({
  title,
  options,
  value,
  onChange,
}: SwatchesProps<T>) {
  const { t } = useI18n()
  const id = useId()
  return (
    <div className="mb-3 flex items-center gap-4">
      <span id={id} className="w-24 shrink-0 font-medium">
        {title}
      </span>
      <RadioGroup.Root
        aria-labelledby={id}
        value={value}
        onValueChange={(name) => {
          onChange(name as T)
        }}
        orientation="horizontal"
        className="flex flex-wrap gap-1.5"
      >
        {options.map(([name, hex]) => (
          <RadioGroup.Item
            key={name}
            value={name}
            aria-label={t.captionSettings.colours[name]}
            title={t.captionSettings.colours[name]}
            className="grid size-9 forced-color-adjust-none place-items-center rounded-full border border-edge bg-sunken text-sm ring-offset-2 ring-offset-surface data-[state=checked]:ring-3 data-[state=checked]:ring-accent"
            style={hex ? { backgroundColor: hex } : undefined}
          >
            {hex === null && <span aria-hidden>A</span>}
          </RadioGroup.Item>
        ))}
      </RadioGroup.Root>
    </div>
  )
}
