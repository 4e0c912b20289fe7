import { forwardRef, type ButtonHTMLAttributes } from 'react'

type Variant = 'primary' | 'plain' | 'quiet' | 'danger'
type Size = 'md' | 'lg' | 'icon'

const VARIANTS: Record<Variant, string> = {
  primary: 'bg-accent text-on-accent hover:bg-accent-hover font-semibold',
  plain: 'border border-edge/60 bg-surface text-ink hover:border-edge hover:bg-sunken',
  quiet: 'text-ink hover:bg-sunken',
  danger: 'text-danger hover:bg-danger-soft',
}

const SIZES: Record<Size, string> = {
  md: 'min-h-11 px-4 gap-2 text-[0.9375rem]',
  lg: 'min-h-14 px-7 gap-3 text-lg',
  icon: 'size-11',
}

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  variant?: Variant
  size?: Size
}

/** Forwards its ref, so that Radix can use it as a trigger (`asChild`). */
export const Button = forwardRef<HTMLButtonElement, ButtonProps>(function Button(
  { variant = 'plain', size = 'md', className = '', ...rest },
  ref,
) {
  const look = `inline-flex shrink-0 items-center justify-center rounded-xl transition-colors duration-150 disabled:opacity-45 ${VARIANTS[variant]} ${SIZES[size]} ${className}`
  return <button ref={ref} type="button" className={look} {...rest} />
})

interface IconButtonProps extends Omit<ButtonProps, 'size' | 'aria-label' | 'title'> {
  /** The name read by screen readers and shown on hover. */
  label: string
}

export const IconButton = forwardRef<HTMLButtonElement, IconButtonProps>(function IconButton(
  { label, variant = 'quiet', ...rest },
  ref,
) {
  return <Button ref={ref} variant={variant} size="icon" aria-label={label} title={label} {...rest} />
})
