import { createContext, useContext } from 'react'
import { useStore } from 'zustand'
import type { TranslateController, TranslateState } from './model'

export const ControllerContext = createContext<TranslateController | null>(null)

export function useController(): TranslateController {
  const controller = useContext(ControllerContext)
  if (!controller) throw new Error('useController needs a ControllerContext above it')
  return controller
}

/** Reads a part of the engine's state; the selector must return the same object until that part changes. */
export function useTranslate<T>(selector: (state: TranslateState) => T): T {
  return useStore(useController().store, selector)
}
