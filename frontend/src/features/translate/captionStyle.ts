import type { Background, TextColour } from '@/preferences/preferences'

export const TEXT_HEX: Record<Exclude<TextColour, 'auto'>, string> = {
  white: '#ffffff',
  yellow: '#ffe14d',
  cyan: '#8be9ff',
  green: '#9df2a4',
  black: '#101010',
}

export const BACKGROUND_HEX: Record<Exclude<Background, 'auto'>, string> = {
  black: '#000000',
  navy: '#0b1f4a',
  white: '#ffffff',
  cream: '#fff6df',
}

/** Relative luminance of `#rrggbb`, as WCAG 2.2 defines it. */
function luminance(hex: string): number {
  const channel = (start: number) => {
    const value = parseInt(hex.slice(start, start + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

/** Contrast ratio of two colours, 1 to 21 (WCAG 2.2). */
export function contrast(first: string, second: string): number {
  const [low, high] = [luminance(first), luminance(second)].toSorted((a, b) => a - b)
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05)
}

/** The colours of the caption box; where only one is chosen, the other is set to black or white so that it can be read. */
export function captionColours(
  colour: TextColour,
  background: Background,
): { color?: string; backgroundColor?: string } {
  if (colour === 'auto' && background === 'auto') return {}
  if (colour === 'auto' && background !== 'auto') {
    const back = BACKGROUND_HEX[background]
    return {
      color: contrast(back, '#ffffff') > contrast(back, '#101010') ? '#ffffff' : '#101010',
      backgroundColor: back,
    }
  }
  const text = TEXT_HEX[colour as Exclude<TextColour, 'auto'>]
  if (background !== 'auto') return { color: text, backgroundColor: BACKGROUND_HEX[background] }
  return { color: text, backgroundColor: contrast(text, '#000000') > contrast(text, '#ffffff') ? '#000000' : '#ffffff' }
}

/** WCAG AA asks for 3:1 for large text; captions get the stricter 4.5:1 of ordinary text. */
export function isHardToRead(colour: TextColour, background: Background): boolean {
  const { color, backgroundColor } = captionColours(colour, background)
  return color !== undefined && backgroundColor !== undefined && contrast(color, backgroundColor) < 4.5
}
