import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { deleteClip, fetchClips } from '@/api/http'
import { Button } from '@/components/ui/Button'
import { Notice } from '@/components/ui/Notice'
import { useI18n } from '@/i18n/I18n'
import { useSignText } from '@/vocabulary/signs'
import { Card } from '@/components/ui/Facts'

/** Everybody's shared clips, newest first. */
export function OperatorClips({ token }: { token: string }) {
  const { t, date } = useI18n()
  const signText = useSignText()
  const queries = useQueryClient()
  const asker = { operatorToken: token }
  const list = useQuery({ queryKey: ['operator', 'clips'], queryFn: () => fetchClips(asker) })
  const remove = useMutation({
    mutationFn: (clipId: string) => deleteClip(clipId, asker),
    onSettled: () => queries.invalidateQueries({ queryKey: ['operator', 'clips'] }),
  })
  const clips = list.data?.clips ?? []
  return (
    <Card title={t.status.clips}>
      <p className="mb-3 text-muted">{list.data && clips.length === 0 ? t.status.noClips : t.status.clipsLead}</p>
      {list.isPending && <p className="text-muted">{t.common.loading}</p>}
      {list.isError && <Notice tone="warn" title={t.clips.failed} />}
      {remove.isError && <Notice tone="danger" title={t.clips.deleteFailed} />}
      <ul className="divide-y divide-line">
        {clips.map((clip) => {
          const text = signText(clip.label)
          const was = clip.predicted_label === null ? t.status.notSure : t.status.readAs(signText(clip.predicted_label))
          return (
            <li key={clip.id} className="flex flex-wrap items-center gap-x-4 py-1.5">
              <span className="font-medium">{text}</span>
              <span className="text-sm text-muted">{was}</span>
              <span className="flex-1 basis-44 text-sm text-muted">{date(clip.created_at)}</span>
              <Button
                variant="danger"
                disabled={remove.isPending}
                aria-label={t.clips.deleteOf(text)}
                onClick={() => {
                  remove.mutate(clip.id)
                }}
              >
                {t.clips.delete}
              </Button>
            </li>
          )
        })}
      </ul>
      {list.data && list.data.total > clips.length && (
        <p className="mt-3 text-sm text-muted">{t.status.more(clips.length, list.data.total)}</p>
      )}
    </Card>
  )
}
