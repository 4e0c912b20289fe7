import { Languages, Monitor, Moon, Sun } from 'lucide-react'
import { NavLink, useLocation } from 'react-router'
import { IconButton } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { THEMES, usePreferences, type Theme } from '@/preferences/preferences'

const THEME_ICONS = { system: Monitor, light: Sun, dark: Moon }

export function Header() {
  const { t } = useI18n()
  const isHome = useLocation().pathname === '/'
  return (
    <header className="mx-auto flex max-w-7xl items-center gap-1 px-4 py-1.5 sm:gap-2 sm:px-6 sm:py-3">
      <a
        href={isHome ? '#captions' : '#main'}
        className="absolute top-2 left-2 z-40 -translate-y-20 rounded-xl bg-accent px-4 py-3 text-on-accent focus:translate-y-0"
      >
        {isHome ? t.nav.skip : t.nav.skipToContent}
      </a>
      <NavLink to="/" aria-label={`SignFlow, ${t.nav.translate}`} className="flex items-center gap-2.5 rounded-lg">
        <Mark />
        <span aria-hidden className="text-xl font-semibold tracking-tight">
          SignFlow
        </span>
      </NavLink>
      <nav className="ml-auto flex gap-1 max-sm:hidden">
        <PageLink to="/training">{t.nav.training}</PageLink>
        <PageLink to="/status">{t.nav.status}</PageLink>
      </nav>
      <div className="flex sm:gap-1 max-sm:ml-auto">
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </header>
  )
}

function Mark() {
  return (
    <svg aria-hidden viewBox="0 0 32 32" className="size-9">
      <rect width="32" height="32" rx="9" className="fill-accent" />
      <path
        d="M8 19.5c3-6 5.5-6 8 0s5 6 8 0M8 12.5h9"
        fill="none"
        strokeWidth="2.8"
        strokeLinecap="round"
        className="stroke-on-accent"
      />
    </svg>
  )
}

function PageLink({ to, children }: { to: string; children: string }) {
  return (
    <NavLink
      to={to}
      className={({ isActive }) =>
        `flex min-h-11 items-center rounded-xl px-3 text-[0.9375rem] hover:bg-sunken ${isActive ? 'font-semibold' : 'text-muted'}`
      }
    >
      {children}
    </NavLink>
  )
}

/** Two languages need no menu: the button names the other one, in that language. */
function LanguageSwitch() {
  const { locale } = useI18n()
  const setPreferences = usePreferences((state) => state.set)
  const other = locale === 'en' ? 'fr' : 'en'
  const name = other === 'fr' ? 'Français' : 'English'
  return (
    <button
      type="button"
      lang={other}
      onClick={() => {
        setPreferences({ locale: other })
      }}
      className="flex min-h-11 items-center gap-2 rounded-xl px-3 text-[0.9375rem] hover:bg-sunken"
    >
      <Languages aria-hidden size={20} />
      <span className="max-sm:sr-only">{name}</span>
    </button>
  )
}

function ThemeSwitch() {
  const { t } = useI18n()
  const theme = usePreferences((state) => state.theme)
  const setPreferences = usePreferences((state) => state.set)
  const names: Record<Theme, string> = { system: t.nav.themeSystem, light: t.nav.themeLight, dark: t.nav.themeDark }
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system'
  const Icon = THEME_ICONS[theme]
  return (
    <IconButton
      label={t.nav.theme(names[theme])}
      onClick={() => {
        setPreferences({ theme: next })
      }}
    >
      <Icon aria-hidden size={20} />
    </IconButton>
  )
}
