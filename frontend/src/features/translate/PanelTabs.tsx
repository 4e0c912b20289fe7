import { Tabs } from 'radix-ui'
import type { ReactNode } from 'react'
import { useI18n } from '@/i18n/I18n'

export interface Panel {
  id: string
  title: string
  content: ReactNode
}

/** What is looked at between signs: one panel at a time, below the live part. */
export function PanelTabs({ panels }: { panels: Panel[] }) {
  const { t } = useI18n()
  return (
    <Tabs.Root defaultValue={panels[0]?.id ?? ''} className="mt-5 rounded-2xl bg-surface shadow-card">
      <Tabs.List aria-label={t.panels.label} className="flex gap-1 overflow-x-auto border-b border-line px-2 sm:px-3">
        {panels.map((panel) => (
          <Tabs.Trigger
            key={panel.id}
            value={panel.id}
            className="-mb-px min-h-12 shrink-0 border-b-3 border-transparent px-3 font-medium text-muted rounded-t-lg -outline-offset-4 transition-colors hover:text-ink data-[state=active]:border-accent data-[state=active]:text-ink"
          >
            {panel.title}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      {panels.map((panel) => (
        <Tabs.Content key={panel.id} value={panel.id} className="rounded-2xl p-5 sm:p-6">
          {panel.content}
        </Tabs.Content>
      ))}
    </Tabs.Root>
  )
}
