import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { lazy, Suspense, useEffect, useState } from 'react'
import { BrowserRouter, Link, Route, Routes } from 'react-router'
import { ControllerContext } from '@/features/translate/ControllerContext'
import type { TranslateController } from '@/features/translate/model'
import { I18nProvider, useI18n } from '@/i18n/I18n'
import { Header } from './Header'
import { HomePage } from './HomePage'

/** Operators' pages load when they are opened, so that everybody else does not wait for them. */
const StatusPage = lazy(async () => ({ default: (await import('@/features/status/StatusPage')).StatusPage }))

const TrainingPage = lazy(async () => ({ default: (await import('@/features/training/TrainingPage')).TrainingPage }))

/** The whole page around one engine, which the caller creates and owns. */
export function App({ controller, basename = '/' }: { controller: TranslateController; basename?: string }) {
  const [queries] = useState(() => new QueryClient({ defaultOptions: { queries: { retry: 1 } } }))
  return (
    <QueryClientProvider client={queries}>
      <I18nProvider>
        <ControllerContext.Provider value={controller}>
          <EngineLocale controller={controller} />
          <BrowserRouter basename={basename}>
            <Header />
            <Suspense>
              <Routes>
                <Route path="/" element={<HomePage />} />
                <Route path="/training/:sessionId?" element={<TrainingPage />} />
                <Route path="/status" element={<StatusPage />} />
                <Route path="*" element={<NotFound />} />
              </Routes>
            </Suspense>
          </BrowserRouter>
        </ControllerContext.Provider>
      </I18nProvider>
    </QueryClientProvider>
  )
}

/** The server writes captions in the interface's language, so the engine must know it. */
function EngineLocale({ controller }: { controller: TranslateController }) {
  const { locale } = useI18n()
  useEffect(() => {
    controller.setLocale(locale)
  }, [controller, locale])
  return null
}

function NotFound() {
  const { t } = useI18n()
  return (
    <main id="main" tabIndex={-1} className="mx-auto max-w-7xl px-6 py-16">
      <h1 className="text-xl">{t.common.notFound}</h1>
      <Link to="/" className="mt-4 inline-block text-accent underline">
        {t.common.backToTranslating}
      </Link>
    </main>
  )
}
