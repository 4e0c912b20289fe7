import { Activity, GraduationCap, Keyboard, Smartphone } from 'lucide-react'
import { useState } from 'react'
import { Link } from 'react-router'
import { Button } from '@/components/ui/Button'
import { MyClips } from '@/features/clips/MyClips'
import { TranslateView, type TranslateDialog } from '@/features/translate/TranslateView'
import { VocabularyPanel } from '@/features/vocabulary/VocabularyPanel'
import { useI18n } from '@/i18n/I18n'

/** The one page to start with: live translation, and below it what to look up between signs. */
export function HomePage() {
  const { t } = useI18n()
  const [dialog, setDialog] = useState<TranslateDialog>(null)
  return (
    <>
      <main className="mx-auto max-w-7xl px-4 pb-4 sm:px-6">
        <h1 className="sr-only">{t.start.title}</h1>
        <TranslateView
          dialog={dialog}
          setDialog={setDialog}
          panels={[
            { id: 'vocabulary', title: t.vocabulary.title, content: <VocabularyPanel /> },
            { id: 'clips', title: t.clips.title, content: <MyClips /> },
          ]}
        />
      </main>
      <footer className="mx-auto flex max-w-7xl flex-wrap gap-2 px-2 pb-8 sm:px-4">
        <Button
          variant="quiet"
          onClick={() => {
            setDialog('phone')
          }}
        >
          <Smartphone aria-hidden size={18} />
          {t.footer.phone}
        </Button>
        <Button
          variant="quiet"
          onClick={() => {
            setDialog('shortcuts')
          }}
        >
          <Keyboard aria-hidden size={18} />
          {t.footer.shortcuts}
        </Button>
        <Link
          to="/training"
          className="flex min-h-11 items-center gap-2 rounded-xl px-4 text-[0.9375rem] hover:bg-sunken sm:hidden"
        >
          <GraduationCap aria-hidden size={18} />
          {t.nav.training}
        </Link>
        <Link
          to="/status"
          className="flex min-h-11 items-center gap-2 rounded-xl px-4 text-[0.9375rem] hover:bg-sunken sm:hidden"
        >
          <Activity aria-hidden size={18} />
          {t.nav.status}
        </Link>
      </footer>
    </>
  )
}
