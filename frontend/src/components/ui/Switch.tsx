import { Switch as RadixSwitch } from 'radix-ui'
import { useId } from 'react'

interface SwitchProps {
  checked: boolean
  onChange: (checked: boolean) => void
  label: string
  description?: string
}

/** On and off differ by the knob's place as well as by colour. */
export function Switch({ checked, onChange, label, description }: SwitchProps) {
  const id = useId()
  return (
    <div className="flex items-start gap-3">
      <RadixSwitch.Root
        id={id}
        checked={checked}
        onCheckedChange={onChange}
        aria-describedby={description ? `${id}-more` : undefined}
        className="mt-0.5 h-6 w-11 shrink-0 rounded-full bg-edge p-0.5 transition-colors data-[state=checked]:bg-accent"
      >
        <RadixSwitch.Thumb className="block size-5 rounded-full bg-white transition-transform data-[state=checked]:translate-x-5" />
      </RadixSwitch.Root>
      <div>
        <label htmlFor={id} className="cursor-pointer font-medium">
          {label}
        </label>
        {description && (
          <p id={`${id}-more`} className="text-sm text-muted">
            {description}
          </p>
        )}
      </div>
    </div>
  )
}
