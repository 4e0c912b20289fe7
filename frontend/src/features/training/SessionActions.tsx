import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { cancelTraining, deleteTraining, resumeTraining, type TrainingSession } from '@/api/training'
import { Button } from '@/components/ui/Button'
import { useI18n } from '@/i18n/I18n'
import { FailureNotice } from './ServerWords'

interface SessionActionsProps {
  session: TrainingSession
  token: string
  onResumed: () => void
}

/** Cancel, resume and delete: whichever the session's state allows. */
export function SessionActions({ session, token, onResumed }: SessionActionsProps) {
  const { t } = useI18n()
  const queries = useQueryClient()
  const navigate = useNavigate()
  const [asksToDelete, setAsksToDelete] = useState(false)
  const refresh = () => queries.invalidateQueries({ queryKey: ['training', 'sessions'] })
  const cancel = useMutation({ mutationFn: () => cancelTraining(session.id, token), onSettled: refresh })
  const resume = useMutation({
    mutationFn: () => resumeTraining(session.id, token),
    onSuccess: onResumed,
    onSettled: refresh,
  })
  const remove = useMutation({
    mutationFn: () => deleteTraining(session.id, token),
    onSuccess: () => navigate('/training'),
    onSettled: refresh,
  })
  const isActive = session.status === 'queued' || session.status === 'running'
  const failure = [cancel, resume, remove].find((one) => one.isError)?.error
  return (
    <div className="mt-5 flex flex-wrap items-center gap-2">
      {isActive && (
        <Button
          disabled={session.cancelling || cancel.isPending}
          onClick={() => {
            cancel.mutate()
          }}
        >
          {t.training.cancel}
        </Button>
      )}
      {!isActive && session.status !== 'finished' && (
        <Button
          variant="primary"
          disabled={resume.isPending}
          onClick={() => {
            resume.mutate()
          }}
        >
          {t.training.resume}
        </Button>
      )}
      {session.status !== 'running' && (
        <Button
          variant="danger"
          disabled={remove.isPending}
          onClick={() => {
            if (asksToDelete) remove.mutate()
            setAsksToDelete(!asksToDelete)
          }}
        >
          {asksToDelete ? t.training.deleteSure : t.training.delete}
        </Button>
      )}
      {asksToDelete && session.result !== null && <span className="text-sm text-muted">{t.training.deleteKeeps}</span>}
      {failure && (
        <div className="w-full">
          <FailureNotice title={t.training.actionFailed} error={failure} />
        </div>
      )}
    </div>
  )
}
