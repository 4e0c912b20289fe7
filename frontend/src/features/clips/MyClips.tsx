import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Trash2 } from 'lucide-react'
import { useState } from 'react'
import { deleteClip, fetchClips, type FeedbackClip } from '@/api/http'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { useGiverTokens } from '@/preferences/giverTokens'
import { useSignText } from '@/vocabulary/signs'

interface GivenClip {
  clip: FeedbackClip
  giverToken: string
}

async function fetchGiven(tokens: readonly string[]): Promise<GivenClip[]> {
  const lists = await Promise.all(
    tokens.map(async (giverToken) => {
      const { clips } = await fetchClips({ giverToken })
      return clips.map((clip) => ({ clip, giverToken }))
    }),
  )
  return lists.flat().toSorted((a, b) => b.clip.created_at.localeCompare(a.clip.created_at))
}

/** What this browser has given, for its giver to look at and take back. */
export function MyClips() {
  const { t } = useI18n()
  const tokens = useGiverTokens((state) => state.tokens)
  const queries = useQueryClient()
  const [sure, setSure] = useState(false)
  const list = useQuery({ queryKey: ['clips', tokens], queryFn: () => fetchGiven(tokens), enabled: tokens.length > 0 })
  const remove = useMutation({
    mutationFn: async (clips: GivenClip[]) => {
      for (const { clip, giverToken } of clips) await deleteClip(clip.id, { giverToken })
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ['clips'] }),
  })

  if (list.isLoading) return <p className="text-muted">{t.clips.loading}</p>
  if (list.isError) return <Notice tone="warn" title={t.clips.failed} />
  const clips = list.data ?? []
  if (clips.length === 0) {
    return (
      <>
        <p className="font-medium">{t.clips.empty}</p>
        <p className="text-muted">{t.clips.emptyHow}</p>
      </>
    )
  }
  return (
    <div>
      <div className="mb-3 flex flex-wrap items-center justify-between gap-3">
        <p className="text-muted">{t.clips.lead}</p>
        <Button
          variant="danger"
          disabled={remove.isPending}
          onBlur={() => {
            setSure(false)
          }}
          onClick={() => {
            setSure(!sure)
            if (sure) remove.mutate(clips)
          }}
        >
          <Trash2 aria-hidden size={18} />
          {sure ? t.clips.deleteAllSure(clips.length) : t.clips.deleteAll}
        </Button>
      </div>
      {remove.isError && <Notice tone="danger" title={t.clips.deleteFailed} />}
      <ul className="divide-y divide-line">
        {clips.map((given) => (
          <ClipRow
            key={given.clip.id}
            clip={given.clip}
            busy={remove.isPending}
            onDelete={() => {
              remove.mutate([given])
            }}
          />
        ))}
      </ul>
    </div>
  )
}

interface ClipRowProps {
  clip: FeedbackClip
  busy: boolean
  onDelete: () => void
}

function ClipRow({ clip, busy, onDelete }: ClipRowProps) {
  const { t, date } = useI18n()
  const text = useSignText()(clip.label)
  return (
    <li className="flex items-center gap-4 py-1.5">
      <span className="font-medium">{text}</span>
      <span className="min-w-0 flex-1 text-sm text-muted">{t.clips.given(date(clip.created_at))}</span>
      <Button variant="danger" disabled={busy} aria-label={t.clips.deleteOf(text)} onClick={onDelete}>
        {t.clips.delete}
      </Button>
    </li>
  )
}
