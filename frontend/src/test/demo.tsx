/**
 * The page around a fake engine, to look at every state without camera or server: `npm run dev`, then
 * /src/test/demo.html. The engine is `window.demo`: `demo.set({signing: 'RECORDING'})`. Not part of the build.
 */
import { createRoot } from 'react-dom/client'
import { App } from '@/app/App'
import { followTheme } from '@/app/theme'
import '@/app/styles.css'
import { createFakeController, RUNNING, sign } from './fakeController'

const controller = createFakeController()
Object.assign(globalThis, { demo: controller, demoRunning: RUNNING, demoSign: sign })
followTheme()
const root = document.getElementById('root')
if (root) createRoot(root).render(<App controller={controller} basename="/src/test/demo.html" />)
