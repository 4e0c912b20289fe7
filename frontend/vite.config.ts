import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

const SERVER = process.env['SIGNFLOW_SERVER'] ?? 'http://127.0.0.1:8000'
const toServer = { target: SERVER, changeOrigin: false }

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  worker: { format: 'es' },
  server: {
    host: '127.0.0.1',
    proxy: { '/api': { ...toServer, ws: true }, '/health': toServer, '/ready': toServer },
  },
  preview: {
    host: '127.0.0.1',
    proxy: { '/api': { ...toServer, ws: true }, '/health': toServer, '/ready': toServer },
  },
  build: { target: 'es2022', chunkSizeWarningLimit: 700 },
  test: {
    environment: 'jsdom',
    setupFiles: ['./src/test/setup.ts'],
    include: ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.ts'],
    restoreMocks: true,
    unstubGlobals: true,
    // A machine that trains beside the tests is ten times slower; a hang is still found.
    testTimeout: 30_000,
  },
})
