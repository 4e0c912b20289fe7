import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from '@/app/App'
import { followTheme } from '@/app/theme'
import { createTranslateController } from '@/features/translate/engine/controller'
import '@/app/styles.css'

const root = document.getElementById('root')
if (!root) throw new Error('index.html has no #root element')
followTheme()
createRoot(root).render(
  <StrictMode>
    <App controller={createTranslateController()} />
  </StrictMode>,
)
