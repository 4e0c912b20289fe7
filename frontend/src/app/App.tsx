export function App() {
  return <main>SignFlow</main>
}
